// Layouts against brute force: every place and every element is enumerated, over all small layouts and for the layouts
// of instructions and of memory.

#include "dialects/tile/LinearLayout.h"
#include "gtest/gtest.h"

#include <map>
#include <set>

namespace inlay::tile {
namespace {
using enum LayoutDim;

LayoutPoint PointOf(std::initializer_list<std::pair<LayoutDim, int64_t>> numbers) {
  LayoutPoint point;
  for (auto [dim, number] : numbers)
    point[dim] = number;
  return point;
}

bool Less(const LayoutPoint &a, const LayoutPoint &b) { return a.numbers < b.numbers; }
using Points = std::set<LayoutPoint, decltype(&Less)>;

/// All places of a layout.
std::vector<LayoutPoint> PlacesOf(const LinearLayout &layout) {
  std::vector<LayoutPoint> places{LayoutPoint()};
  for (LayoutDim dim : {Register, Lane, Warp, Block, Offset, Dim0, Dim1, Dim2, Dim3}) {
    std::vector<LayoutPoint> next;
    for (LayoutPoint place : places)
      for (place[dim] = 0; place[dim] < layout.size(dim); ++place[dim])
        next.push_back(place);
    places = std::move(next);
  }
  return places;
}

int64_t ElementsWithin(const LinearLayout &layout) {
  int64_t count = 1;
  for (LayoutDim dim : {Register, Lane, Warp, Block, Offset, Dim0, Dim1, Dim2, Dim3})
    count *= layout.extent(dim);
  return count;
}

/// All layouts of two register bits, a lane bit and a warp bit whose bases are any points of 2 x 4 elements.
std::vector<LinearLayout> SmallLayouts() {
  std::vector<LinearLayout> layouts;
  for (int code = 0; code < 1 << 12; ++code) {
    LinearLayout layout;
    for (int bit = 0; bit < 4; ++bit) {
      int basis = code >> (3 * bit) & 7;
      layout.addBit(bit < 2 ? Register : bit == 2 ? Lane : Warp, PointOf({{Dim0, basis >> 2}, {Dim1, basis & 3}}));
    }
    layouts.push_back(layout);
  }
  return layouts;
}

TEST(LinearLayoutTest, ApplyIsLinear) {
  for (const LinearLayout &layout : SmallLayouts())
    for (const LayoutPoint &x : PlacesOf(layout)) {
      LayoutPoint low, high; // x, apart
      for (int i = 0; i < kLayoutDims; ++i) {
        low.numbers[i] = x.numbers[i] & 1;
        high.numbers[i] = x.numbers[i] & ~int64_t(1);
      }
      LayoutPoint sum = layout.apply(low);
      sum ^= layout.apply(high);
      ASSERT_EQ(layout.apply(x), sum);
    }
}

TEST(LinearLayoutTest, InjectiveSurjectiveAndInverse) {
  for (const LinearLayout &layout : SmallLayouts()) {
    Points elements(&Less);
    std::vector<LayoutPoint> places = PlacesOf(layout);
    for (const LayoutPoint &place : places)
      elements.insert(layout.apply(place));
    ASSERT_EQ(layout.isInjective(), elements.size() == places.size());
    ASSERT_EQ(layout.isSurjective(), static_cast<int64_t>(elements.size()) == ElementsWithin(layout));
    LinearLayout inverse = layout.inverse();
    for (const LayoutPoint &element : elements) {
      LayoutPoint place = inverse.apply(element);
      ASSERT_EQ(layout.apply(place), element);
      // Bits that are free are 0.
      for (LayoutDim dim : {Register, Lane, Warp})
        ASSERT_EQ(place[dim] & layout.freeBits(dim), 0);
    }
    if (layout.isInjective()) {
      LinearLayout round = layout.compose(inverse);
      for (const LayoutPoint &place : places)
        ASSERT_EQ(round.apply(place), place);
    }
  }
}

TEST(LinearLayoutTest, FreeBitsLeaveOneHolder) {
  for (const LinearLayout &layout : SmallLayouts()) {
    std::map<LayoutPoint, int, decltype(&Less)> holders(&Less);
    for (const LayoutPoint &place : PlacesOf(layout)) {
      bool isFirst = true;
      for (LayoutDim dim : {Register, Lane, Warp})
        isFirst &= (place[dim] & layout.freeBits(dim)) == 0;
      holders[layout.apply(place)] += isFirst;
    }
    for (auto [element, count] : holders)
      ASSERT_EQ(count, 1);
  }
}

TEST(LinearLayoutTest, Contiguous) {
  for (const LinearLayout &layout : SmallLayouts())
    for (LayoutDim in : {Register, Lane})
      for (LayoutDim out : {Dim0, Dim1}) {
        int64_t expected = 1;
        for (int64_t count = 2; count <= layout.size(in); count *= 2) {
          bool isRun = true;
          for (int64_t i = 0; i < count; ++i)
            isRun &= layout.apply(PointOf({{in, i}})) == PointOf({{out, i}});
          if (isRun)
            expected = count;
        }
        ASSERT_EQ(layout.contiguous(in, out), expected);
      }
}

TEST(LinearLayoutTest, Slice) {
  for (const LinearLayout &layout : SmallLayouts())
    for (int axis : {0, 1}) {
      LinearLayout kept = layout.slice(axis);
      llvm::SmallVector<unsigned> bits = layout.keptRegisterBits(axis);
      ASSERT_EQ(static_cast<int>(bits.size()), kept.bits(Register));
      for (const LayoutPoint &place : PlacesOf(layout)) {
        LayoutPoint reduced = place;
        reduced[Register] = 0;
        for (auto [to, from] : llvm::enumerate(bits))
          reduced[Register] |= (place[Register] >> from & 1) << to;
        ASSERT_EQ(kept.apply(reduced), PointOf({{Dim0, layout.apply(place)[dimension(1 - axis)]}}));
      }
    }
}

TEST(LinearLayoutTest, Transposed) {
  for (const LinearLayout &layout : SmallLayouts())
    for (const LayoutPoint &place : PlacesOf(layout)) {
      LayoutPoint element = layout.apply(place);
      std::swap(element[Dim0], element[Dim1]);
      ASSERT_EQ(layout.transposed().apply(place), element);
    }
}

TEST(LinearLayoutTest, ProductPutsBitsAfterBits) {
  LinearLayout low = LinearLayout::identity(Register, 1, Dim1) * LinearLayout::identity(Lane, 1, Dim0);
  LinearLayout high = LinearLayout::identity(Lane, 1, Dim1) * LinearLayout::broadcast(Register, 1) *
                      LinearLayout::identity(Register, 1, Dim0);
  LinearLayout product = low * high;
  for (const LayoutPoint &place : PlacesOf(product)) {
    LayoutPoint first, second;
    for (LayoutDim dim : {Register, Lane}) {
      first[dim] = place[dim] & (low.size(dim) - 1);
      second[dim] = place[dim] >> low.bits(dim);
    }
    LayoutPoint x = low.apply(first), y = high.apply(second), element = product.apply(place);
    for (LayoutDim dim : {Dim0, Dim1})
      EXPECT_EQ(element[dim], x[dim] + (y[dim] << low.outBits(dim)));
  }
}

/// Small layouts of one register, one lane and one warp bit over 2 x 2 elements.
std::vector<LinearLayout> TinyLayouts() {
  std::vector<LinearLayout> layouts;
  for (int code = 0; code < 1 << 8; ++code) {
    LinearLayout layout;
    LayoutDim inputs[] = {Register, Register, Lane, Warp};
    for (int bit = 0; bit < 4; ++bit)
      layout.addBit(inputs[bit], PointOf({{Dim0, code >> (2 * bit) & 1}, {Dim1, code >> (2 * bit + 1) & 1}}));
    layouts.push_back(layout);
  }
  return layouts;
}

TEST(LinearLayoutTest, Conversion) {
  std::vector<LinearLayout> layouts = TinyLayouts();
  for (const LinearLayout &from : layouts)
    for (const LinearLayout &to : layouts) {
      // What the threads of `from` hold, each by itself and each warp.
      bool threads = true, warps = true;
      for (const LayoutPoint &place : PlacesOf(to)) {
        bool ofThread = false, ofWarp = false;
        for (const LayoutPoint &source : PlacesOf(from))
          if (source[Warp] == place[Warp] && from.apply(source) == to.apply(place)) {
            ofWarp = true;
            ofThread |= source[Lane] == place[Lane];
          }
        threads &= ofThread;
        warps &= ofWarp;
      }
      LayoutConversion conversion = conversionOf(from, to);
      if (conversion == LayoutConversion::None)
        ASSERT_EQ(from, to);
      if (conversion == LayoutConversion::Registers)
        ASSERT_TRUE(threads);
      ASSERT_EQ(conversion == LayoutConversion::Shared, !warps);
      std::optional<LinearLayout> numbers = renumbered(from, to);
      ASSERT_EQ(numbers.has_value(), conversion == LayoutConversion::None || conversion == LayoutConversion::Registers);
      if (numbers)
        for (LayoutPoint place : PlacesOf(to)) {
          LayoutPoint element = to.apply(place);
          place[Register] = numbers->apply(PointOf({{Register, place[Register]}}))[Register];
          ASSERT_EQ(from.apply(place), element);
        }
    }
}

/// Conflicts of an access as the hardware serves it: 128 bytes at a time.
int64_t CountConflicts(const LinearLayout &offsets, int64_t elementBytes, int64_t bytes) {
  int64_t lanes = 128 / bytes, worst = 0;
  for (int64_t first = 0; first < 32; first += lanes) {
    std::map<int64_t, std::set<int64_t>> words; // of each bank
    for (int64_t lane = first; lane < first + lanes; ++lane)
      for (int64_t word = 0; word < bytes / 4; ++word) {
        int64_t at = offsets.apply(PointOf({{Lane, lane}}))[Offset] * elementBytes / 4 + word;
        words[at % 32].insert(at);
      }
    for (auto &[bank, found] : words)
      worst = std::max<int64_t>(worst, found.size());
  }
  return worst;
}

TEST(LinearLayoutTest, BankConflicts) {
  // Each lane bit moves the access by a power of two of accesses, or not at all.
  for (int64_t bytes : {4, 8, 16})
    for (int code = 0; code < 8 * 8 * 8 * 8 * 8; code += 3) {
      LinearLayout offsets;
      for (int bit = 0; bit < 5; ++bit) {
        int64_t step = code >> (3 * bit) & 7;
        offsets.addBit(Lane, PointOf({{Offset, step == 0 ? 0 : (bytes / 2) << (step - 1)}}));
      }
      ASSERT_EQ(bankConflicts(offsets, 2, bytes), CountConflicts(offsets, 2, bytes));
    }
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

/// 2^rowBits rows of 64 elements of 2 bytes; the row changes the chunk of 8 columns.
LinearLayout Swizzled(int rowBits) {
  LinearLayout layout = LinearLayout::identity(Offset, 6, Dim1);
  for (int i = 0; i < rowBits; ++i)
    layout.addBit(Offset, PointOf({{Dim0, int64_t(1) << i}, {Dim1, i < 3 ? int64_t(8) << i : 0}}));
  return layout;
}

TEST(LinearLayoutTest, Swizzle128AndPackedAtoms) {
  LinearLayout layout = Swizzled(5);
  EXPECT_TRUE(layout.isInjective() && layout.isSurjective());
  LinearLayout place = layout.inverse();
  for (int64_t row = 0; row < 32; ++row)
    for (int64_t column = 0; column < 64; ++column) {
      // Atoms of 8 rows, each of 64 columns: chunk c of row r lies at chunk c ^ r.
      int64_t chunk = column / 8 ^ row % 8, atom = row / 8;
      int64_t offset = atom * 512 + row % 8 * 64 + chunk * 8 + column % 8;
      EXPECT_EQ(place.apply(PointOf({{Dim0, row}, {Dim1, column}}))[Offset], offset);
      EXPECT_EQ(layout.apply(PointOf({{Offset, offset}})), PointOf({{Dim0, row}, {Dim1, column}}));
    }
}

TEST(LinearLayoutTest, SwizzleAvoidsConflicts) {
  // Eight lanes read 16 bytes of one column in eight rows, as ldmatrix does.
  LinearLayout rows = LinearLayout::identity(Lane, 3, Dim0);
  LinearLayout plain = LinearLayout::identity(Offset, 6, Dim1) * LinearLayout::identity(Offset, 3, Dim0);
  EXPECT_EQ(bankConflicts(rows.compose(Swizzled(3).inverse()), 2, 16), 1);
  EXPECT_EQ(bankConflicts(rows.compose(plain.inverse()), 2, 16), 8);
}
} // namespace
} // namespace inlay::tile
