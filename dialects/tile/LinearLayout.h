//===- LinearLayout.h - where the elements of a tile lie -------------------===//
//
// A layout maps the number of a place to the element that is held there. Places and
// elements are named tuples of numbers of whole bits: a place in registers is
// (register, lane, warp, block), a place in shared memory is (offset), an element of a
// tile is (dim0, dim1). The map is linear over GF(2): the images of single bits, the
// bases, give every other image by XOR. For places a and b
//
//   layout(a ^ b) = layout(a) ^ layout(b)
//
// where XOR is taken in each component. So a layout is a matrix of bits, and questions
// about it are linear algebra. Three examples:
//
// 1. The accumulator of mma.m16n8k16. Lane l's register r holds row l / 4 + 8 * (r / 2)
//    and column 2 * (l % 4) + r % 2. As bases, written [dim0, dim1]:
//
//      register: [0, 1] [8, 0]
//      lane:     [0, 2] [0, 4] [1, 0] [2, 0] [4, 0]
//
//    Register 3 of lane 5 is [0, 1] ^ [8, 0] ^ [0, 2] ^ [1, 0] = [9, 3]: row 9, column 3.
//
// 2. The 128-byte swizzle of 8 rows of 64 elements of 2 bytes. Row r is at bytes 128 * r,
//    and its chunk c of 16 bytes is at chunk c ^ r. Bits 0 to 5 of the offset (in elements)
//    are columns. Bits 6 to 8 are the row, which also changes the chunk of the column:
//
//      offset: [0, 1] [0, 2] [0, 4] [0, 8] [0, 16] [0, 32] [1, 8] [2, 16] [4, 32]
//
//    Offset 64 * 3 + 8 * 2 holds row 3 and column 16 ^ (8 ^ 16) = 8: chunk 1 of row 3 is at
//    chunk 1 ^ 3 = 2. A basis with two components is what single coordinate bits cannot say.
//
// 3. A vector of 4 elements that all lanes hold: register [1] [2] and lane [0] [0] [0] [0] [0].
//    A basis of 0 means that the element is held once more (broadcast).
//
// Layouts are built as products. In x * y, the bits of y follow those of x, in each input
// and in each output. The accumulator of example 1 is
//
//   identity(Register, 1, Dim1) * identity(Lane, 2, Dim1) * identity(Lane, 3, Dim0) * identity(Register, 1, Dim0)
//
// The extent of an output is the smallest power of two that no image exceeds. It may be
// larger than the tile: what lies past the tile's end is anything.
//
// The idea, not the code, is that of "Linear Layouts" (Zhou et al., arXiv 2505.23819).
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_DIALECTS_TILE_LINEARLAYOUT_H
#define INLAY_DIALECTS_TILE_LINEARLAYOUT_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

namespace inlay::tile {
/// Inputs and outputs of layouts. `Block` is the number in a cluster; `Offset` counts elements of shared memory.
enum class LayoutDim : uint8_t { Register, Lane, Warp, Block, Offset, Dim0, Dim1, Dim2, Dim3 };
inline constexpr int kLayoutDims = 9, kLayoutRank = 4;
/// The tile's dimension `i`, less than kLayoutRank.
constexpr LayoutDim dimension(int i) { return static_cast<LayoutDim>(static_cast<int>(LayoutDim::Dim0) + i); }

/// A number for each input or output; 0 for those that a layout does not have.
struct LayoutPoint {
  std::array<int64_t, kLayoutDims> numbers{};
  int64_t &operator[](LayoutDim dim) { return numbers[static_cast<size_t>(dim)]; }
  int64_t operator[](LayoutDim dim) const { return numbers[static_cast<size_t>(dim)]; }
  LayoutPoint &operator^=(const LayoutPoint &other);
  bool operator==(const LayoutPoint &) const = default;
};

class LinearLayout {
public:
  using Bases = std::vector<LayoutPoint>;

  /// One place, at the origin.
  LinearLayout() = default;
  /// `bits` bits of `in` that are the same bits of `out`.
  static LinearLayout identity(LayoutDim in, int bits, LayoutDim out);
  /// `bits` bits of `in` that do not change the element.
  static LinearLayout broadcast(LayoutDim in, int bits);
  /// The next bit of `in`, with its image.
  void addBit(LayoutDim in, const LayoutPoint &basis) { ofInput(in).push_back(basis); }

  const Bases &bases(LayoutDim in) const & { return inputs[static_cast<size_t>(in)]; }
  const Bases &bases(LayoutDim in) const && = delete; // a layout that lives as long must have a name
  int bits(LayoutDim in) const { return static_cast<int>(bases(in).size()); }
  int64_t size(LayoutDim in) const { return int64_t(1) << bits(in); }
  /// What each bit of `in` changes of `out`.
  llvm::SmallVector<int64_t> components(LayoutDim in, LayoutDim out) const;
  /// The bits of an output, and 2 to the power of that.
  int outBits(LayoutDim out) const;
  int64_t extent(LayoutDim out) const { return int64_t(1) << outBits(out); }
  LayoutPoint apply(const LayoutPoint &place) const;
  bool operator==(const LinearLayout &) const = default;

  /// The bits of `other` follow those of this layout, in each input and in each output.
  LinearLayout operator*(const LinearLayout &other) const;
  /// This layout and then `outer`, whose inputs are the outputs of this one.
  LinearLayout compose(const LinearLayout &outer) const;
  /// Whether different places hold different elements.
  bool isInjective() const;
  /// Whether each element within the extents is held somewhere.
  bool isSurjective() const;
  /// From elements to places. Of an element that several places hold, one of those: bits that are not needed (freeBits)
  /// are 0. So it is a right inverse of a surjective layout (x.inverse().compose(x) is an identity), and a left inverse
  /// of an injective one (x.compose(x.inverse()) is an identity).
  LinearLayout inverse() const;

  /// What is left when the tile is reduced along dimension `axis`: held by every thread that held a part. Registers
  /// that are the same element then are one register.
  LinearLayout slice(int axis) const;
  /// The bits of a register's number that stay in slice(axis), lowest first.
  llvm::SmallVector<unsigned> keptRegisterBits(int axis) const;
  /// Dimensions 0 and 1 exchanged.
  LinearLayout transposed() const;
  /// The part that `dims` of the inputs decide.
  LinearLayout restricted(llvm::ArrayRef<LayoutDim> dims) const;

  /// A mask of the bits of `in` whose images the bits before them give already, in the order of LayoutDim: elements are
  /// held once more for each of these. Places that have 0 there hold each element once.
  int64_t freeBits(LayoutDim in) const;
  /// Consecutive numbers of `in`, from 0, that are consecutive in `out` and change nothing else.
  int64_t contiguous(LayoutDim in, LayoutDim out) const;

private:
  Bases &ofInput(LayoutDim in) { return inputs[static_cast<size_t>(in)]; }
  std::array<Bases, kLayoutDims> inputs;
};

/// What it takes to bring a tile in registers from one layout to another.
enum class LayoutConversion {
  None,      // the layouts are equal
  Registers, // a thread has all of its elements, in registers of other numbers
  Lanes,     // a warp has all of its elements
  Shared     // elements move between warps, or blocks
};
LayoutConversion conversionOf(const LinearLayout &from, const LinearLayout &to);
/// The register of `from` that each register of `to` is, as a map from register to register; none where a thread lacks
/// elements.
std::optional<LinearLayout> renumbered(const LinearLayout &from, const LinearLayout &to);

/// How many times as long as without conflicts an access to shared memory takes. Lane l reads or writes `bytes` bytes
/// (4, 8 or 16) at element offsets(l), elements having `elementBytes`. Lanes that read the same word do not conflict.
int64_t bankConflicts(const LinearLayout &offsets, int64_t elementBytes, int64_t bytes);
} // namespace inlay::tile

#endif // INLAY_DIALECTS_TILE_LINEARLAYOUT_H
