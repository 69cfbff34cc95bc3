//===- Layout.cpp - layouts of tiles in a block's registers ----------------===//

#include "passes/tile_to_cuda/Layout.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>

using namespace inlay;
using enum inlay::tile::LayoutDim;

int inlay::log2Ceil(int64_t size) { return static_cast<int>(llvm::Log2_64_Ceil(size)); }

int64_t inlay::liveRegisters(const Layout &layout, llvm::ArrayRef<int64_t> shape) {
  // The last bits, as far as they are the highest of one dimension.
  const Layout::Bases &bases = layout.bases(Register);
  size_t first = bases.size();
  int dim = -1;
  int64_t lowest = 0;
  while (first > 0) {
    const tile::LayoutPoint &basis = bases[first - 1];
    if (dim < 0)
      for (size_t i = 0; i < shape.size(); ++i)
        if (int64_t extent = layout.extent(tile::dimension(i)); extent > 1 && basis[tile::dimension(i)] == extent / 2)
          dim = i, lowest = extent;
    tile::LayoutPoint next;
    if (dim >= 0)
      next[tile::dimension(dim)] = lowest / 2;
    if (dim < 0 || lowest == 1 || basis != next)
      break;
    lowest /= 2;
    --first;
  }
  if (first == bases.size())
    return layout.size(Register);
  return (int64_t(1) << first) * llvm::divideCeil(shape[dim], lowest);
}

bool inlay::liveRegistersFit(const Layout &layout, llvm::ArrayRef<int64_t> shape) {
  int64_t live = liveRegisters(layout, shape);
  for (auto [i, size] : llvm::enumerate(shape)) {
    LayoutDim dim = tile::dimension(static_cast<int>(i));
    int64_t ofThreads = 0;
    for (LayoutDim in : {Lane, Warp})
      for (int64_t component : layout.components(in, dim))
        ofThreads |= component;
    for (int64_t reg = 0; reg < live; ++reg) {
      tile::LayoutPoint place;
      place[Register] = reg;
      if ((layout.apply(place)[dim] | ofThreads) >= size)
        return false;
    }
  }
  return true;
}

/// All bits of the coordinates, the last dimension's first.
static llvm::SmallVector<tile::LayoutPoint> coordinateBits(llvm::ArrayRef<int64_t> shape) {
  llvm::SmallVector<tile::LayoutPoint> bits;
  for (int dim = static_cast<int>(shape.size()) - 1; dim >= 0; --dim)
    for (int i = 0; i < log2Ceil(shape[dim]); ++i)
      bits.emplace_back()[tile::dimension(dim)] = int64_t(1) << i;
  return bits;
}

Layout inlay::dividedLayout(llvm::ArrayRef<int64_t> shape, int warpBits, int blockBits) {
  constexpr int laneBits = 5, leastLaneBits = 2; // neighbours of a row in neighbouring lanes
  llvm::SmallVector<tile::LayoutPoint> bits = coordinateBits(shape);
  int own = std::max(0, static_cast<int>(bits.size()) - blockBits);
  int lanes = std::min(own, std::clamp(own - warpBits, leastLaneBits, laneBits)),
      warps = std::min(warpBits, own - lanes);
  Layout result;
  auto take = [&](LayoutDim in, int from, int count, int all) {
    for (int i = 0; i < all; ++i)
      result.addBit(in, i < count ? bits[from + i] : tile::LayoutPoint());
  };
  take(Lane, 0, lanes, laneBits);
  take(Warp, lanes, warps, warpBits);
  int registers = own - lanes - warps;
  take(Register, lanes + warps, registers, registers);
  take(Block, own, static_cast<int>(bits.size()) - own, blockBits);
  return result;
}

Layout inlay::blockedLayout(llvm::ArrayRef<int64_t> shape, int64_t vector, int warpBits) {
  llvm::SmallVector<tile::LayoutPoint> bits = coordinateBits(shape);
  llvm::ArrayRef<tile::LayoutPoint> rest = bits;
  Layout result;
  auto take = [&](LayoutDim in, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      result.addBit(in, rest.empty() ? tile::LayoutPoint() : rest.front());
      rest = rest.drop_front(!rest.empty());
    }
  };
  take(Register, std::min(log2Ceil(vector), shape.empty() ? 0 : log2Ceil(shape.back())));
  take(Lane, 5);
  take(Warp, warpBits);
  take(Register, rest.size());
  return result;
}

Layout inlay::layoutOfRows(llvm::ArrayRef<int64_t> shape, int64_t vector) {
  constexpr int laneBits = 5;
  int rowBits = log2Ceil(shape[0]), columnBits = log2Ceil(shape[1]);
  int lanesOfRows = std::min(rowBits, laneBits), vectorBits = std::min(log2Ceil(vector), columnBits);
  Layout result;
  auto take = [&](LayoutDim in, LayoutDim out, int from, int to, int end) {
    for (int bit = from; bit < to; ++bit) {
      tile::LayoutPoint basis;
      basis[out] = bit < end ? int64_t(1) << bit : 0;
      result.addBit(in, basis);
    }
  };
  int inLanes = vectorBits + laneBits - lanesOfRows;
  take(Register, Dim1, 0, vectorBits, columnBits);
  take(Lane, Dim1, vectorBits, inLanes, columnBits);
  take(Lane, Dim0, 0, lanesOfRows, rowBits);
  take(Register, Dim1, inLanes, columnBits, columnBits);
  take(Register, Dim0, lanesOfRows, rowBits, rowBits);
  return result;
}

Layout inlay::concatenated(const Layout &part, int64_t columns, int64_t count) {
  Layout result = part;
  for (int64_t bit = 1; bit < count; bit *= 2) {
    tile::LayoutPoint basis;
    basis[Dim1] = columns * bit;
    result.addBit(Register, basis);
  }
  return result;
}

Layout inlay::interleaved(const Layout &half) { return Layout::identity(Register, 1, Dim1) * half; }

Layout inlay::halfOf(const Layout &interleaved) {
  Layout half;
  for (LayoutDim in : {Register, Lane, Warp, LayoutDim::Block})
    for (auto [i, basis] : llvm::enumerate(interleaved.bases(in))) {
      if (in == Register && i == 0)
        continue;
      tile::LayoutPoint halved = basis;
      halved[Dim1] >>= 1;
      half.addBit(in, halved);
    }
  return half;
}

static tile::LayoutPoint grouped(tile::LayoutPoint basis, int bits) {
  basis[Dim1] >>= bits;
  return basis;
}

Layout inlay::groupedColumns(const Layout &layout, int bits) {
  Layout groups;
  for (LayoutDim in : {Register, Lane, Warp, LayoutDim::Block})
    for (const tile::LayoutPoint &basis : layout.bases(in))
      if (tile::LayoutPoint group = grouped(basis, bits); in != Register || group != tile::LayoutPoint())
        groups.addBit(in, group);
  return groups;
}

llvm::SmallVector<int64_t> inlay::groupedRegisters(const Layout &layout, int bits) {
  llvm::SmallVector<int64_t> registers;
  int64_t next = 1;
  for (const tile::LayoutPoint &basis : layout.bases(Register)) {
    bool isKept = grouped(basis, bits) != tile::LayoutPoint();
    registers.push_back(isKept ? next : 0);
    next <<= isKept;
  }
  return registers;
}

std::optional<Layout> inlay::layoutOfSlice(const Layout &layout, llvm::ArrayRef<int64_t> shape) {
  Layout slice;
  for (LayoutDim in : {Register, Lane, Warp})
    for (const tile::LayoutPoint &basis : layout.bases(in)) {
      int beyond = 0, components = 0;
      for (size_t dim = 0; dim < shape.size(); ++dim) {
        beyond += basis[tile::dimension(dim)] >= shape[dim];
        components += basis[tile::dimension(dim)] != 0;
      }
      if (beyond > 0 && (in != Register || components > 1))
        return std::nullopt;
      if (beyond == 0)
        slice.addBit(in, basis);
    }
  for (size_t dim = 0; dim < shape.size(); ++dim)
    if (slice.extent(tile::dimension(dim)) != shape[dim])
      return std::nullopt;
  return slice;
}

std::optional<int> inlay::exchangedRegisterBit(const Layout &from, const Layout &to) {
  for (LayoutDim in : {LayoutDim::Warp, LayoutDim::Block})
    if (from.bases(in) != to.bases(in))
      return std::nullopt;
  if (from.bits(Register) != to.bits(Register) || from.bits(Lane) != to.bits(Lane) || from.bits(Lane) == 0 ||
      llvm::ArrayRef(from.bases(Lane)).drop_front() != llvm::ArrayRef(to.bases(Lane)).drop_front())
    return std::nullopt;
  std::optional<int> exchanged;
  for (int bit = 0; bit < from.bits(Register); ++bit) {
    if (from.bases(Register)[bit] == to.bases(Register)[bit])
      continue;
    if (exchanged)
      return std::nullopt;
    exchanged = bit;
  }
  if (exchanged &&
      (from.bases(Register)[*exchanged] != to.bases(Lane)[0] || to.bases(Register)[*exchanged] != from.bases(Lane)[0]))
    return std::nullopt;
  return exchanged;
}

bool inlay::isMatrixTransposed(const Layout &from, const Layout &to) {
  if (from.bits(Register) < 1 || from.bits(Lane) != 5 || from.bits(Register) != to.bits(Register))
    return false;
  Layout turned;
  const Layout::Bases &lanes = from.bases(Lane), &registers = from.bases(Register);
  turned.addBit(Register, lanes[2]);
  for (const tile::LayoutPoint &basis : llvm::ArrayRef(registers).drop_front())
    turned.addBit(Register, basis);
  for (const tile::LayoutPoint &basis : {lanes[3], lanes[4], registers[0], lanes[0], lanes[1]})
    turned.addBit(Lane, basis);
  for (const tile::LayoutPoint &basis : from.bases(Warp))
    turned.addBit(Warp, basis);
  return turned == to;
}
