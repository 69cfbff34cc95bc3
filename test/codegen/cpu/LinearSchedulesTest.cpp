//===- LinearSchedulesTest.cpp - linear layers compute the same in each schedule ===//
//
// tile-apply-schedule changes blocks, tiles and the order of sums, and nothing else. The inputs are small integers,
// whose sums are exact in any order, so that results are equal bit for bit.
//
//===----------------------------------------------------------------------===//

#include "mlir/AsmParser/AsmParser.h"
#include "mlir/Pass/PassManager.h"
#include "passes/tile/Passes.h"
#include "test/codegen/cpu/KernelTesting.h"

namespace {
using namespace inlay;
using namespace inlay::testing;

constexpr int kK = 320, kTokens = 107; // 5 steps of K; the last tile of rows is not full
constexpr uint16_t kGuard = 0x4242;

struct Layer {
  int columns; // of the output
  std::string program;
};

/// A layer that computes y of `columns` columns from x W^T, in tiles of 16 x 16 of the product.
Layer linear(int weightRows, int columns, const std::string &provenance, const std::string &epilogue) {
  const std::string rows = std::to_string(weightRows), tiles = std::to_string(weightRows / 16);
  const std::string y = "!tile.view<?x" + std::to_string(columns) + "xbf16, " + provenance + ", tokens>";
  return {columns, "!w = !tile.view<" + rows + "x320xbf16, weight>\n!y = " + y + R"(
!x = !tile.view<?x320xbf16, activation, tokens>
!b = !tile.view<208xbf16, weight>
!positions = !tile.view<?xi32, meta, tokens>
!table = !tile.view<64x16xf32, weight>
tile.program @linear(%x: !x, %w: !w, %positions: !positions, %table: !table, %b: !b, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> ()" +
                       tiles + R"(, s0 ceildiv 16)> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
  %c320 = arith.constant 320 : index
  %row = arith.muli %m, %c16 : index
  %col = arith.muli %n, %c16 : index
  %zero = arith.constant dense<0.0> : tensor<16x16xf32>
  %acc = scf.for %k = %c0 to %c320 step %c64 iter_args(%a = %zero) -> (tensor<16x16xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<16x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<16x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<16x64xbf16>, tensor<16x64xbf16>, tensor<16x16xf32>
    scf.yield %d : tensor<16x16xf32>
  })" + epilogue + "}\n"};
}

/// The state is read and written in place. The last tile of 64 or of 128 columns is not full.
Layer residual() {
  return linear(208, 208, "state", R"(
  %bt = tile.load %b[%col] : !b -> tensor<16xbf16>
  %bf = arith.extf %bt : tensor<16xbf16> to tensor<16xf32>
  %bb = tile.broadcast %bf axis 0 : tensor<16xf32> -> tensor<16x16xf32>
  %h = arith.addf %acc, %bb : tensor<16x16xf32>
  %rt = tile.load %y[%row, %col] : !y -> tensor<16x16xbf16>
  %rf = arith.extf %rt : tensor<16x16xbf16> to tensor<16x16xf32>
  %o = arith.addf %h, %rf : tensor<16x16xf32>
  %ob = arith.truncf %o : tensor<16x16xf32> to tensor<16x16xbf16>
  tile.store %ob, %y[%row, %col] : tensor<16x16xbf16>, !y
)");
}

/// Even and odd columns of the product are pairs of gate and up.
Layer gated() {
  return linear(208, 104, "output", R"(
  %c8 = arith.constant 8 : index
  %gate, %up = tile.deinterleave %acc : tensor<16x16xf32> -> tensor<16x8xf32>
  %scale = arith.constant dense<0.0078125> : tensor<16x8xf32>
  %one = arith.constant dense<1.0> : tensor<16x8xf32>
  %small = arith.mulf %gate, %scale : tensor<16x8xf32>
  %neg = arith.negf %small : tensor<16x8xf32>
  %e = math.exp %neg : tensor<16x8xf32>
  %den = arith.addf %e, %one : tensor<16x8xf32>
  %silu = arith.divf %small, %den : tensor<16x8xf32>
  %o = arith.mulf %silu, %up : tensor<16x8xf32>
  %ob = arith.truncf %o : tensor<16x8xf32> to tensor<16x8xbf16>
  %oc = arith.muli %n, %c8 : index
  tile.store %ob, %y[%row, %oc] : tensor<16x8xbf16>, !y
)");
}

/// Heads of 32: the first 4 are rotated by the angles of a row's position, the rest are not. Even columns of the
/// product are elements i of a head, odd ones i + 16.
Layer rope() {
  return linear(192, 192, "output", R"(
  %c2 = arith.constant 2 : index
  %c4 = arith.constant 4 : index
  %c32 = arith.constant 32 : index
  %lo, %hi = tile.deinterleave %acc : tensor<16x16xf32> -> tensor<16x8xf32>
  %head = arith.divui %col, %c32 : index
  %in_head = arith.remui %col, %c32 : index
  %half = arith.divui %in_head, %c2 : index
  %pos = tile.load %positions[%row] : !positions -> tensor<16xi32>
  %is_rotated = arith.cmpi ult, %head, %c4 : index
  %rot_lo, %rot_hi = scf.if %is_rotated -> (tensor<16x8xf32>, tensor<16x8xf32>) {
    %angle = tile.gather %table[%pos, %half] : !table, tensor<16xi32> -> tensor<16x8xf32>
    %lc = arith.mulf %lo, %angle : tensor<16x8xf32>
    %hc = arith.mulf %hi, %angle : tensor<16x8xf32>
    %rl = arith.subf %lc, %hi : tensor<16x8xf32>
    %rh = arith.addf %hc, %lo : tensor<16x8xf32>
    scf.yield %rl, %rh : tensor<16x8xf32>, tensor<16x8xf32>
  } else {
    scf.yield %lo, %hi : tensor<16x8xf32>, tensor<16x8xf32>
  }
  %out_lo = arith.truncf %rot_lo : tensor<16x8xf32> to tensor<16x8xbf16>
  %out_hi = arith.truncf %rot_hi : tensor<16x8xf32> to tensor<16x8xbf16>
  %head_col = arith.muli %head, %c32 : index
  %at_lo = arith.addi %head_col, %half : index
  %at_hi = arith.addi %at_lo, %c16 : index
  tile.store %out_lo, %y[%row, %at_lo] : tensor<16x8xbf16>, !y
  tile.store %out_hi, %y[%row, %at_hi] : tensor<16x8xbf16>, !y
)");
}

/// Rows that are scaled by a vector and by their root mean square, in tiles of `rows`.
Layer normed(int rows) {
  const std::string m = std::to_string(rows);
  return {208, R"(
!w = !tile.view<208x320xbf16, weight>
!y = !tile.view<?x208xbf16, output, tokens>
!x = !tile.view<?x320xbf16, activation, tokens>
!b = !tile.view<208xbf16, weight>
!positions = !tile.view<?xi32, meta, tokens>
!table = !tile.view<320xf32, weight>
tile.program @linear(%x: !x, %w: !w, %positions: !positions, %table: !table, %b: !b, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (13, s0 ceildiv )" +
                   m + R"()> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
  %c320 = arith.constant 320 : index
  %rows = arith.constant )" +
                   m + R"( : index
  %row = arith.muli %m, %rows : index
  %col = arith.muli %n, %c16 : index
  %zero = arith.constant dense<0.0> : tensor<)" +
                   m + R"(x16xf32>
  %none = arith.constant dense<0.0> : tensor<)" +
                   m + R"(xf32>
  %acc:2 = scf.for %k = %c0 to %c320 step %c64 iter_args(%a = %zero, %s = %none)
      -> (tensor<)" +
                   m + "x16xf32>, tensor<" + m + R"(xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<)" +
                   m + R"(x64xbf16>
    %xf = arith.extf %xt : tensor<)" +
                   m + "x64xbf16> to tensor<" + m + R"(x64xf32>
    %sq = arith.mulf %xf, %xf : tensor<)" +
                   m + R"(x64xf32>
    %part = tile.reduce add %sq axis 1 : tensor<)" +
                   m + "x64xf32> -> tensor<" + m + R"(xf32>
    %sum = arith.addf %s, %part : tensor<)" +
                   m + R"(xf32>
    %v = tile.load %table[%k] : !table -> tensor<64xf32>
    %vv = tile.broadcast %v axis 0 : tensor<64xf32> -> tensor<)" +
                   m + R"(x64xf32>
    %scaled = arith.mulf %xf, %vv : tensor<)" +
                   m + R"(x64xf32>
    %xb = arith.truncf %scaled : tensor<)" +
                   m + "x64xf32> to tensor<" + m + R"(x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<16x64xbf16>
    %d = tile.dot %xb, %wt, %a transpose_rhs : tensor<)" +
                   m + "x64xbf16>, tensor<16x64xbf16>, tensor<" + m + R"(x16xf32>
    scf.yield %d, %sum : tensor<)" +
                   m + "x16xf32>, tensor<" + m + R"(xf32>
  }
  %one = arith.constant dense<1.0> : tensor<)" +
                   m + R"(xf32>
  %more = arith.addf %acc#1, %one : tensor<)" +
                   m + R"(xf32>
  %r = math.rsqrt %more : tensor<)" +
                   m + R"(xf32>
  %rr = tile.broadcast %r axis 1 : tensor<)" +
                   m + "xf32> -> tensor<" + m + R"(x16xf32>
  %o = arith.mulf %acc#0, %rr : tensor<)" +
                   m + R"(x16xf32>
  %ob = arith.truncf %o : tensor<)" +
                   m + "x16xf32> to tensor<" + m + R"(x16xbf16>
  tile.store %ob, %y[%row, %col] : tensor<)" +
                   m + R"(x16xbf16>, !y
}
)"};
}

/// Integers from -4 to 4.
std::vector<uint16_t> integers(unsigned seed, size_t count) {
  std::mt19937 engine(seed);
  std::vector<uint16_t> values(count);
  for (uint16_t &value : values)
    value = toBf16(static_cast<float>(static_cast<int>(engine() % 9) - 4));
  return values;
}

/// The sizes of steps: one row, a tile that is not full, several tiles.
constexpr int kSteps[] = {1, 19, kTokens};

/// What the layer stores for `tokens` rows, and 16 rows of a guard.
std::vector<uint16_t> launchLayer(const Layer &layer, Kernel kernel, mlir::AffineMap grid, int tokens) {
  llvm::SmallVector<mlir::Attribute> extents;
  mlir::Attribute size = mlir::Builder(grid.getContext()).getIndexAttr(tokens);
  EXPECT_TRUE(succeeded(grid.constantFold(llvm::SmallVector<mlir::Attribute>(6, size), extents)));
  auto x = integers(1, size_t(kTokens) * kK), w = integers(2, 208 * kK), b = integers(3, 208);
  std::vector<int32_t> positions;
  for (int i = 0; i < kTokens; ++i)
    positions.push_back(i * 5 % 64);
  std::vector<float> table;
  for (int i = 0; i < 64 * 16; ++i)
    table.push_back(static_cast<float>(i % 7 - 3) / 4);
  auto y = integers(4, size_t(tokens) * layer.columns);
  y.resize(y.size() + size_t(16) * layer.columns, kGuard);
  auto extent = [&](unsigned dim) {
    return dim < extents.size() ? llvm::cast<mlir::IntegerAttr>(extents[dim]).getInt() : 1;
  };
  launch(kernel, extent(0), extent(1), {tokens}, x, w, positions, table, b, y);
  return y;
}

/// The results of each step in `schedule`, or of the program as it is written where that is empty.
std::vector<std::vector<uint16_t>> run(const Layer &layer, const std::string &schedule) {
  mlir::DialectRegistry registry;
  registerAllDialects(registry);
  mlir::MLIRContext context(registry);
  auto module = mlir::parseSourceString<mlir::ModuleOp>(layer.program, &context);
  if (!module)
    return {};
  tile::ProgramOp program = *module->getOps<tile::ProgramOp>().begin();
  if (!schedule.empty()) {
    program.setScheduleAttr(llvm::cast<tile::Schedule>(mlir::parseAttribute("#tile." + schedule, &context)));
    mlir::PassManager passes(&context);
    passes.addPass(createApplySchedulePass());
    passes.addNestedPass<tile::ProgramOp>(createUnrollClusterPass());
    if (failed(passes.run(*module)))
      return {};
  }
  mlir::AffineMap grid = program.getGrid();
  Library library(*module);
  Kernel kernel = library.kernel("linear");
  std::vector<std::vector<uint16_t>> results;
  if (kernel)
    for (int tokens : kSteps)
      results.push_back(launchLayer(layer, kernel, grid, tokens));
  return results;
}

const char *const kSchedules[] = {
    "swap_ab<tile_rows = 16, tile_columns = 64, tile_k = 64, consumers = 1, split = 1, slots = 2, stages = 4, "
    "shared_bytes = 115712>",
    "swap_ab<tile_rows = 32, tile_columns = 128, tile_k = 64, consumers = 2, split = 2, slots = 2, stages = 4, "
    "shared_bytes = 115712>",
    "swap_ab<tile_rows = 96, tile_columns = 64, tile_k = 64, consumers = 1, split = 3, slots = 2, stages = 4, "
    "shared_bytes = 115712>",
    "gemm<blocks = 3, tile_rows = 64, tile_columns = 128, tile_k = 64, stages = 4, consumers = 1, "
    "producer_registers = 40, consumer_registers = 232>",
    "gemm<blocks = 2, tile_rows = 128, tile_columns = 256, tile_k = 64, stages = 4, consumers = 2, "
    "producer_registers = 40, consumer_registers = 232>",
};

/// Weights on the right and on the left, several passes and one; K that the warps do not divide evenly.
std::vector<std::string> streams(int rows) {
  const std::string rest = ", rows = " + std::to_string(rows) + ", slots = 2, shared_bytes = 115712>";
  return {"stream<blocks = 3, warps = 2, tile_columns = 8, tile_k = 64, stages = 2, tiles = 3, depth = 1" + rest,
          "stream<blocks = 13, warps = 3, tile_columns = 16, tile_k = 64, stages = 4, tiles = 1, depth = 2" + rest};
}

template <typename Schedules> void expectSameIn(const Schedules &schedules, const Layer &layer) {
  std::vector<std::vector<uint16_t>> expected = run(layer, "");
  ASSERT_EQ(expected.size(), std::size(kSteps));
  for (const auto &schedule : schedules) {
    SCOPED_TRACE(schedule);
    std::vector<std::vector<uint16_t>> actual = run(layer, schedule);
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t step = 0; step < expected.size(); ++step)
      for (size_t i = 0; i < expected[step].size(); ++i)
        ASSERT_EQ(actual[step][i], expected[step][i])
            << kSteps[step] << " tokens: row " << i / layer.columns << ", column " << i % layer.columns;
  }
}

void expectSameInEachSchedule(const Layer &layer) { expectSameIn(kSchedules, layer); }

TEST(LinearSchedules, AddAResidualInPlace) { expectSameInEachSchedule(residual()); }
TEST(LinearSchedules, ComputeAGatedActivation) { expectSameInEachSchedule(gated()); }
TEST(LinearSchedules, RotateHeads) { expectSameInEachSchedule(rope()); }
TEST(LinearSchedules, AddAResidualOfSixteenRows) { expectSameIn(streams(16), residual()); }
TEST(LinearSchedules, RotateHeadsOfSixteenRows) { expectSameIn(streams(16), rope()); }
TEST(LinearSchedules, ScaleOneRow) { expectSameIn(streams(1), normed(1)); }
TEST(LinearSchedules, ScaleEightRows) { expectSameIn(streams(8), normed(8)); }
} // namespace
