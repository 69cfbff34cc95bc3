//===- LinearLayout.cpp - where the elements of a tile lie -----------------===//

#include "dialects/tile/LinearLayout.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

#include <cassert>

using namespace inlay::tile;

static LayoutDim dimAt(int i) { return static_cast<LayoutDim>(i); }

LayoutPoint &LayoutPoint::operator^=(const LayoutPoint &other) {
  for (int i = 0; i < kLayoutDims; ++i)
    numbers[i] ^= other.numbers[i];
  return *this;
}

//===----------------------------------------------------------------------===//
// Elimination
//===----------------------------------------------------------------------===//

namespace {
/// Some bits of each input or output, numbered one after the other.
struct FlatBits {
  std::array<int, kLayoutDims> first{};
  int count = 0;

  template <typename BitsOf> explicit FlatBits(BitsOf bitsOf) {
    for (int i = 0; i < kLayoutDims; ++i) {
      first[i] = count;
      count += bitsOf(dimAt(i));
    }
    assert(count < 64 && "a layout has too many bits");
  }
  uint64_t flat(const LayoutPoint &point) const {
    uint64_t result = 0;
    for (int i = 0; i < kLayoutDims; ++i)
      result |= static_cast<uint64_t>(point.numbers[i]) << first[i];
    return result;
  }
  /// The point of `bits`.
  LayoutPoint point(uint64_t bits) const {
    LayoutPoint result;
    for (int i = 0; i < kLayoutDims; ++i) {
      int end = i + 1 < kLayoutDims ? first[i + 1] : count;
      result.numbers[i] = static_cast<int64_t>(bits >> first[i] & llvm::maskTrailingOnes<uint64_t>(end - first[i]));
    }
    return result;
  }
};

/// The span of vectors that were added one by one, as a reduced echelon basis: the leading bit of each vector is in no
/// other. `from` says of which of the added vectors it is the sum.
struct Span {
  struct Row {
    uint64_t vector, from;
    int leading() const { return llvm::Log2_64(vector); }
  };
  llvm::SmallVector<Row> rows;
  int added = 0;

  uint64_t reduced(uint64_t vector) const {
    for (const Row &row : rows)
      if (vector >> row.leading() & 1)
        vector ^= row.vector;
    return vector;
  }
  bool contains(uint64_t vector) const { return reduced(vector) == 0; }
  /// False where the vector was in the span.
  bool add(uint64_t vector) {
    Row next{vector, uint64_t(1) << added++};
    for (const Row &row : rows)
      if (next.vector >> row.leading() & 1) {
        next.vector ^= row.vector;
        next.from ^= row.from;
      }
    if (next.vector == 0)
      return false;
    for (Row &row : rows)
      if (row.vector >> next.leading() & 1) {
        row.vector ^= next.vector;
        row.from ^= next.from;
      }
    rows.push_back(next);
    return true;
  }
};
} // namespace

static FlatBits outputsOf(const LinearLayout &layout) {
  return FlatBits([&](LayoutDim dim) { return layout.outBits(dim); });
}

/// The span of the images of `dims`.
static Span spanOf(const LinearLayout &layout, const FlatBits &outputs, llvm::ArrayRef<LayoutDim> dims) {
  Span span;
  for (LayoutDim dim : dims)
    for (const LayoutPoint &basis : layout.bases(dim))
      span.add(outputs.flat(basis));
  return span;
}

static llvm::SmallVector<LayoutDim> allDims() {
  llvm::SmallVector<LayoutDim> dims;
  for (int i = 0; i < kLayoutDims; ++i)
    dims.push_back(dimAt(i));
  return dims;
}

//===----------------------------------------------------------------------===//
// Layouts
//===----------------------------------------------------------------------===//

LinearLayout LinearLayout::identity(LayoutDim in, int bits, LayoutDim out) {
  LinearLayout result;
  for (int i = 0; i < bits; ++i) {
    LayoutPoint basis;
    basis[out] = int64_t(1) << i;
    result.addBit(in, basis);
  }
  return result;
}

LinearLayout LinearLayout::broadcast(LayoutDim in, int bits) {
  LinearLayout result;
  for (int i = 0; i < bits; ++i)
    result.addBit(in, LayoutPoint());
  return result;
}

llvm::SmallVector<int64_t> LinearLayout::components(LayoutDim in, LayoutDim out) const {
  llvm::SmallVector<int64_t> result;
  for (const LayoutPoint &basis : bases(in))
    result.push_back(basis[out]);
  return result;
}

int LinearLayout::outBits(LayoutDim out) const {
  uint64_t any = 0;
  for (const Bases &ofInput : inputs)
    for (const LayoutPoint &basis : ofInput)
      any |= static_cast<uint64_t>(basis[out]);
  return llvm::bit_width(any);
}

LayoutPoint LinearLayout::apply(const LayoutPoint &place) const {
  LayoutPoint result;
  for (int i = 0; i < kLayoutDims; ++i) {
    assert(place.numbers[i] >> inputs[i].size() == 0 && "a place is outside of the layout");
    for (auto [bit, basis] : llvm::enumerate(inputs[i]))
      if (place.numbers[i] >> bit & 1)
        result ^= basis;
  }
  return result;
}

LinearLayout LinearLayout::operator*(const LinearLayout &other) const {
  LinearLayout result = *this;
  for (int i = 0; i < kLayoutDims; ++i)
    for (LayoutPoint basis : other.inputs[i]) {
      for (int out = 0; out < kLayoutDims; ++out)
        basis.numbers[out] <<= outBits(dimAt(out));
      result.inputs[i].push_back(basis);
    }
  return result;
}

LinearLayout LinearLayout::compose(const LinearLayout &outer) const {
  LinearLayout result;
  for (int i = 0; i < kLayoutDims; ++i)
    for (const LayoutPoint &basis : inputs[i])
      result.inputs[i].push_back(outer.apply(basis));
  return result;
}

bool LinearLayout::isInjective() const {
  Span span = spanOf(*this, outputsOf(*this), allDims());
  return span.rows.size() == static_cast<size_t>(span.added);
}

bool LinearLayout::isSurjective() const {
  FlatBits outputs = outputsOf(*this);
  return spanOf(*this, outputs, allDims()).rows.size() == static_cast<size_t>(outputs.count);
}

LinearLayout LinearLayout::inverse() const {
  FlatBits outputs = outputsOf(*this), places([&](LayoutDim dim) { return bits(dim); });
  Span span = spanOf(*this, outputs, allDims());
  // A vector of the echelon basis is its leading bit and bits that lead none. The former come from `from`, the latter
  // may come from anywhere: from 0.
  std::array<uint64_t, 64> from{};
  for (const Span::Row &row : span.rows)
    from[row.leading()] = row.from;
  LinearLayout result;
  for (int i = 0, flat = 0; i < kLayoutDims; ++i)
    for (int bit = 0; bit < outBits(dimAt(i)); ++bit)
      result.inputs[i].push_back(places.point(from[flat++]));
  return result;
}

/// The image in slice(axis).
static LayoutPoint sliced(LayoutPoint basis, int axis) {
  for (int i = axis; i + 1 < kLayoutRank; ++i)
    basis[dimension(i)] = basis[dimension(i + 1)];
  basis[dimension(kLayoutRank - 1)] = 0;
  return basis;
}

LinearLayout LinearLayout::slice(int axis) const {
  LinearLayout result;
  for (int i = 0; i < kLayoutDims; ++i)
    for (const LayoutPoint &basis : inputs[i]) {
      LayoutPoint rest = sliced(basis, axis);
      if (dimAt(i) != LayoutDim::Register || rest != LayoutPoint() || basis == LayoutPoint())
        result.inputs[i].push_back(rest);
    }
  return result;
}

llvm::SmallVector<unsigned> LinearLayout::keptRegisterBits(int axis) const {
  llvm::SmallVector<unsigned> kept;
  for (auto [i, basis] : llvm::enumerate(bases(LayoutDim::Register)))
    if (sliced(basis, axis) != LayoutPoint() || basis == LayoutPoint())
      kept.push_back(i);
  return kept;
}

LinearLayout LinearLayout::transposed() const {
  LinearLayout result = *this;
  for (Bases &ofInput : result.inputs)
    for (LayoutPoint &basis : ofInput)
      std::swap(basis[LayoutDim::Dim0], basis[LayoutDim::Dim1]);
  return result;
}

LinearLayout LinearLayout::restricted(llvm::ArrayRef<LayoutDim> dims) const {
  LinearLayout result;
  for (LayoutDim dim : dims)
    result.ofInput(dim) = bases(dim);
  return result;
}

int64_t LinearLayout::freeBits(LayoutDim in) const {
  FlatBits outputs = outputsOf(*this);
  Span span;
  int64_t mask = 0;
  for (int i = 0; i <= static_cast<int>(in); ++i)
    for (auto [bit, basis] : llvm::enumerate(inputs[i]))
      if (!span.add(outputs.flat(basis)) && dimAt(i) == in)
        mask |= int64_t(1) << bit;
  return mask;
}

int64_t LinearLayout::contiguous(LayoutDim in, LayoutDim out) const {
  int64_t count = 1;
  for (const LayoutPoint &basis : bases(in)) {
    LayoutPoint next;
    next[out] = count;
    if (basis != next)
      break;
    count *= 2;
  }
  return count;
}

//===----------------------------------------------------------------------===//
// Conversions and accesses
//===----------------------------------------------------------------------===//

LayoutConversion inlay::tile::conversionOf(const LinearLayout &from, const LinearLayout &to) {
  using enum LayoutDim;
  if (from == to)
    return LayoutConversion::None;
  FlatBits outputs([&](LayoutDim dim) { return std::max(from.outBits(dim), to.outBits(dim)); });
  // Whether the places of `inner` hold, beside the same places of `outer`, all that `to` needs there.
  auto suffices = [&](llvm::ArrayRef<LayoutDim> inner, llvm::ArrayRef<LayoutDim> outer) {
    Span held = spanOf(from, outputs, inner);
    for (LayoutDim dim : inner)
      for (const LayoutPoint &basis : to.bases(dim))
        if (!held.contains(outputs.flat(basis)))
          return false;
    for (LayoutDim dim : outer) {
      if (from.bits(dim) != to.bits(dim))
        return false;
      for (auto [x, y] : llvm::zip_equal(from.bases(dim), to.bases(dim)))
        if (!held.contains(outputs.flat(x) ^ outputs.flat(y)))
          return false;
    }
    return true;
  };
  if (renumbered(from, to))
    return LayoutConversion::Registers;
  return suffices({Register, Lane}, {Warp, Block}) ? LayoutConversion::Lanes : LayoutConversion::Shared;
}

std::optional<LinearLayout> inlay::tile::renumbered(const LinearLayout &from, const LinearLayout &to) {
  using enum LayoutDim;
  // The numbers of the registers do not depend on the thread: they are indices of an array in registers.
  LayoutDim threads[] = {Lane, Warp, Block};
  if (from.restricted(threads) != to.restricted(threads))
    return std::nullopt;
  LinearLayout held = from.restricted(Register), wanted = to.restricted(Register);
  for (int i = 0; i < kLayoutDims; ++i)
    if (wanted.outBits(dimAt(i)) > held.outBits(dimAt(i)))
      return std::nullopt;
  LinearLayout numbers = wanted.compose(held.inverse());
  if (numbers.compose(held) != wanted)
    return std::nullopt;
  return numbers;
}

int64_t inlay::tile::bankConflicts(const LinearLayout &offsets, int64_t elementBytes, int64_t bytes) {
  // 128 bytes are moved at a time: those of all lanes, or of 16 or 8 consecutive ones.
  int lanes = std::min(offsets.bits(LayoutDim::Lane), 5 - static_cast<int>(llvm::Log2_64(bytes / 4)));
  Span accesses, banks;
  for (const LayoutPoint &basis : llvm::ArrayRef(offsets.bases(LayoutDim::Lane)).take_front(lanes)) {
    uint64_t access = static_cast<uint64_t>(basis[LayoutDim::Offset] * elementBytes / bytes);
    accesses.add(access);
    banks.add(access & (128 / static_cast<uint64_t>(bytes) - 1));
  }
  return int64_t(1) << (accesses.rows.size() - banks.rows.size());
}
