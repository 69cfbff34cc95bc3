// Layouts of the table of instructions against the formulas of the PTX manual ("Matrix Fragments for mma.m16n8k16",
// "Register Fragments for wgmma.mma_async.m64nNk16", "ldmatrix"), and the calls that rows give.

#include "passes/tile_to_cuda/MmaInstructions.h"
#include "gtest/gtest.h"

namespace inlay {
namespace {
using enum tile::LayoutDim;

class MmaInstructionsTest : public testing::Test {
protected:
  const MmaInstruction &Mma() { return *findMma(bf16, OperandPlace::Registers, OperandPlace::Registers); }
  const MmaInstruction &Wgmma() { return *findMma(bf16, OperandPlace::Slot, OperandPlace::Slot); }
  /// Row and column of the element in a register of a lane and warp.
  static std::pair<int64_t, int64_t> At(const Layout &layout, int64_t lane, int64_t reg, int64_t warp = 0) {
    tile::LayoutPoint place;
    place[Lane] = lane;
    place[Register] = reg;
    place[Warp] = warp;
    tile::LayoutPoint element = layout.apply(place);
    return {element[Dim0], element[Dim1]};
  }
  using Element = std::pair<int64_t, int64_t>;

  mlir::MLIRContext context;
  mlir::Type bf16 = mlir::BFloat16Type::get(&context);
};

TEST_F(MmaInstructionsTest, FragmentsOfMma) {
  EXPECT_TRUE(Mma().sums.isInjective() && Mma().sums.isSurjective());
  for (int64_t lane = 0; lane < 32; ++lane) {
    int64_t group = lane / 4, inGroup = lane % 4;
    for (int64_t i = 0; i < 4; ++i)
      EXPECT_EQ(At(Mma().sums, lane, i), Element(group + (i < 2 ? 0 : 8), inGroup * 2 + (i & 1)));
    for (int64_t i = 0; i < 8; ++i) {
      bool isUpper = (i >= 0 && i < 2) || (i >= 4 && i < 6);
      EXPECT_EQ(At(Mma().leftFragment, lane, i),
                Element(group + (isUpper ? 0 : 8), inGroup * 2 + (i & 1) + (i >= 4 ? 8 : 0)));
    }
    for (int64_t i = 0; i < 4; ++i)
      EXPECT_EQ(At(Mma().rightFragment, lane, i), Element(inGroup * 2 + (i & 1) + (i >= 2 ? 8 : 0), group));
  }
}

TEST_F(MmaInstructionsTest, SumsOfWgmma) {
  for (int64_t columns = 8; columns <= Wgmma().maxColumns; columns *= 2) {
    Layout layout = sumsLayout(Wgmma(), 64, columns, 0, 0);
    EXPECT_TRUE(layout.isInjective() && layout.isSurjective());
    for (int64_t thread = 0; thread < 128; ++thread)
      for (int64_t i = 0; i < columns / 2; ++i)
        EXPECT_EQ(
            At(layout, thread % 32, i, thread / 32),
            Element(16 * (thread / 32) + thread % 32 / 4 + 8 * (i / 2 % 2), 8 * (i / 4) + 2 * (thread % 4) + i % 2));
  }
}

TEST_F(MmaInstructionsTest, LeftOfWgmmaInRegisters) {
  const MmaInstruction &mma = *findMma(bf16, OperandPlace::Registers, OperandPlace::SlotByRows);
  EXPECT_EQ(mma.sums, Wgmma().sums);
  Layout layout = leftLayout(mma, 64, 32, 0, 0);
  EXPECT_TRUE(layout.isInjective() && layout.isSurjective());
  for (int64_t thread = 0; thread < 128; ++thread)
    for (int64_t i = 0; i < 16; ++i)
      EXPECT_EQ(At(layout, thread % 32, i, thread / 32), Element(16 * (thread / 32) + thread % 32 / 4 + 8 * (i / 2 % 2),
                                                                 8 * (i / 4) + 2 * (thread % 4) + i % 2));
}

TEST_F(MmaInstructionsTest, MatricesOfLdmatrixAreFragments) {
  // Afterwards lane l has elements 2 * (l % 4) and the next of row l / 4 of each matrix of 8 x 8. In the order upper
  // left, lower left, upper right, lower right, four of them are the left operand.
  Layout matrix =
      Layout::identity(Register, 1, Dim1) * Layout::identity(Lane, 2, Dim1) * Layout::identity(Lane, 3, Dim0);
  EXPECT_EQ(matrix * Layout::identity(Register, 1, Dim0) * Layout::identity(Register, 1, Dim1), Mma().leftFragment);
  // Two of the transposed right operand, one behind the other along k, are the right one.
  EXPECT_EQ(matrix.transposed() * Layout::identity(Register, 1, Dim0), Mma().rightFragment);
}

TEST_F(MmaInstructionsTest, PackedWeights) {
  // Lane l has 8 neighbours of each 32 columns of row l / 4, and of the weights those of row g / 2 + 4 * (g % 2) with
  // g = l / 4: weight row n of the product is column or row w(n) of the sums.
  auto weightRow = [](int64_t n) { return n / 2 + 4 * (n % 2); };
  const MmaInstruction &right = *findMma(bf16, OperandPlace::Registers, OperandPlace::Packed, 8);
  const MmaInstruction &left = *findMma(bf16, OperandPlace::Packed, OperandPlace::Registers);
  Layout rows = packedRowsLayout(right, 8, 64), one = packedRowsLayout(left, 1, 64);
  for (int64_t lane = 0; lane < 32; ++lane) {
    for (int64_t i = 0; i < 16; ++i) {
      int64_t column = 8 * (lane % 4) + i % 8 + 32 * (i / 8);
      EXPECT_EQ(At(rows, lane, i), Element(lane / 4, column));
      EXPECT_EQ(At(one, lane, i), Element(0, column));
    }
    for (int64_t i = 0; i < 4; ++i) {
      Element sum = At(Mma().sums, lane, i);
      EXPECT_EQ(At(right.sums, lane, i), Element(sum.first, weightRow(sum.second)));
      EXPECT_EQ(At(left.sums, lane, i), Element(weightRow(sum.first % 8) + sum.first / 8 * 8, sum.second));
    }
  }
  EXPECT_EQ(right.call(bf16, 8), "mma_8_rows<bfloat16>");
  EXPECT_EQ(findMma(bf16, OperandPlace::Registers, OperandPlace::Packed, 16)->call(bf16, 8), "mma_16_rows<bfloat16>");
}

TEST_F(MmaInstructionsTest, PackedCodes) {
  // A piece of 16 bytes is 16 or 32 neighbours of two weight rows 8 apart. The other operand has the same columns.
  for (auto [place, piece] : {std::pair(OperandPlace::Codes8, 16), std::pair(OperandPlace::Codes4, 32)}) {
    const MmaInstruction &mma = *findMma(bf16, place, OperandPlace::Registers);
    EXPECT_EQ(mma.inner, 4 * piece);
    // Rows of 8-bit codes lie as those of numbers do, so they are read in the same order.
    auto weightRow = [&, place = place](int64_t n) { return place == OperandPlace::Codes8 ? n / 2 + 4 * (n % 2) : n; };
    Layout rows = packedRowsLayout(mma, 8, 2 * mma.inner);
    for (int64_t lane = 0; lane < 32; ++lane) {
      for (int64_t i = 0; i < 2 * piece; ++i) {
        int64_t column = piece * (lane % 4) + i % piece;
        EXPECT_EQ(At(mma.leftFragment, lane, i), Element(weightRow(lane / 4) + i / piece * 8, column));
        EXPECT_EQ(At(rows, lane, i), Element(lane / 4, column + i / piece * mma.inner));
      }
      for (int64_t i = 0; i < 4; ++i) {
        Element sum = At(Mma().sums, lane, i);
        EXPECT_EQ(At(mma.sums, lane, i), Element(weightRow(sum.first % 8) + sum.first / 8 * 8, sum.second));
      }
    }
  }
}

TEST_F(MmaInstructionsTest, NeighboursExchangeHalves) {
  auto layout = [](int64_t ofRegister, int64_t ofLane) {
    Layout result = Layout::identity(Register, 3, Dim1);
    tile::LayoutPoint inRegister, inLane;
    inRegister[Dim1] = ofRegister;
    inLane[Dim1] = ofLane;
    result.addBit(Register, inRegister);
    result.addBit(Lane, inLane);
    return result * Layout::identity(Lane, 4, Dim0);
  };
  EXPECT_EQ(exchangedRegisterBit(layout(16, 8), layout(8, 16)), 3);
  EXPECT_EQ(exchangedRegisterBit(layout(16, 8), layout(16, 8)), std::nullopt);
  EXPECT_EQ(exchangedRegisterBit(layout(16, 8), layout(8, 32)), std::nullopt);
}

TEST_F(MmaInstructionsTest, TilesCoverTheirShape) {
  for (int64_t rows = 16; rows <= 128; rows *= 2)
    for (int64_t columns = 8; columns <= 128; columns *= 2)
      for (int warpRows = 0; warpRows <= 2; ++warpRows)
        for (int warpColumns = 0; warpColumns <= 2; ++warpColumns) {
          Layout sums = sumsLayout(Mma(), rows, columns, warpRows, warpColumns);
          Layout left = leftLayout(Mma(), rows, 2 * columns, warpRows, warpColumns);
          EXPECT_TRUE(sums.isSurjective() && left.isSurjective());
          EXPECT_EQ(sums.extent(Dim0), rows);
          EXPECT_EQ(sums.extent(Dim1), columns);
          EXPECT_EQ(left.extent(Dim0), rows);
          EXPECT_EQ(left.extent(Dim1), 2 * columns);
          EXPECT_EQ(sums.bits(Warp), warpRows + warpColumns);
          // A warp has the same rows of both, and all of k.
          EXPECT_EQ(sums.slice(1).restricted({Lane, Warp}), left.slice(1).restricted({Lane, Warp}));
          EXPECT_EQ(left.slice(0).restricted({Warp}), Layout::broadcast(Warp, warpRows + warpColumns));
        }
}

TEST_F(MmaInstructionsTest, Calls) {
  EXPECT_EQ(Mma().call(bf16, 8), "mma_m16n8k16<bfloat16>");
  EXPECT_EQ(Wgmma().call(mlir::Float16Type::get(&context), 64), "wgmma_m64k16<float16, 64>");
  EXPECT_EQ(findMma(mlir::Float32Type::get(&context), OperandPlace::Registers, OperandPlace::Registers), nullptr);
  EXPECT_EQ(findMma(bf16, OperandPlace::Registers, OperandPlace::Slot)->call(bf16, 64),
            "wgmma_m64k16_registers<bfloat16, 64>");
  EXPECT_EQ(findMma(bf16, OperandPlace::Slot, OperandPlace::Registers), nullptr);
}
} // namespace
} // namespace inlay
