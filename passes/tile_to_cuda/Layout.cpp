//===- Layout.cpp - where the elements of a tile lie in a block's registers ===//

#include "passes/tile_to_cuda/Layout.h"

#include "llvm/Support/MathExtras.h"

#include <algorithm>

using namespace inlay;

int inlay::log2Ceil(int64_t size) { return llvm::Log2_64_Ceil(size); }

int64_t inlay::liveRegisters(const Layout &layout, llvm::ArrayRef<int64_t> shape) {
  // The last bits, as far as they are the highest of one dimension.
  size_t first = layout.registers.size();
  while (first > 0) {
    LayoutBit bit = layout.registers[first - 1];
    bool isNext = first == layout.registers.size()
                      ? bit.dim >= 0 && layout.extent(bit.dim) == int64_t(2) << bit.position
                      : bit == LayoutBit{layout.registers[first].dim, layout.registers[first].position - 1};
    if (!isNext)
      break;
    --first;
  }
  if (first == layout.registers.size())
    return layout.registerCount();
  LayoutBit lowest = layout.registers[first];
  return (int64_t(1) << first) * llvm::divideCeil(shape[lowest.dim], int64_t(1) << lowest.position);
}

int64_t Layout::extent(int dim) const {
  int64_t extent = 1;
  for (const auto *bits : {&registers, &lanes, &warps})
    for (LayoutBit bit : *bits)
      if (bit.dim == dim)
        extent = std::max(extent, int64_t(2) << bit.position);
  return extent;
}

Layout Layout::slice(int axis) const {
  auto drop = [&](LayoutBit bit) {
    if (bit.dim == axis)
      return LayoutBit();
    return LayoutBit{bit.dim > axis ? bit.dim - 1 : bit.dim, bit.position};
  };
  Layout result;
  for (LayoutBit bit : registers)
    if (bit.dim != axis)
      result.registers.push_back(drop(bit));
  for (LayoutBit bit : lanes)
    result.lanes.push_back(drop(bit));
  for (LayoutBit bit : warps)
    result.warps.push_back(drop(bit));
  return result;
}

llvm::SmallVector<unsigned> Layout::keptRegisterBits(int axis) const {
  llvm::SmallVector<unsigned> kept;
  for (unsigned i = 0; i < registers.size(); ++i)
    if (registers[i].dim != axis)
      kept.push_back(i);
  return kept;
}

int64_t Layout::contiguous(int dim) const {
  int64_t count = 1;
  for (int i = 0; i < static_cast<int>(registers.size()) && registers[i] == LayoutBit{dim, i}; ++i)
    count *= 2;
  return count;
}

Layout Layout::blocked(llvm::ArrayRef<int64_t> shape, int64_t vector, int warpBits) {
  // All coordinate bits, the last dimension's first.
  llvm::SmallVector<LayoutBit> bits;
  for (int dim = static_cast<int>(shape.size()) - 1; dim >= 0; --dim)
    for (int i = 0; i < log2Ceil(shape[dim]); ++i)
      bits.push_back({dim, i});
  size_t next = 0, vectorBits = std::min(log2Ceil(vector), shape.empty() ? 0 : log2Ceil(shape.back()));
  Layout result;
  while (next < vectorBits)
    result.registers.push_back(bits[next++]);
  auto take = [&] { return next < bits.size() ? bits[next++] : LayoutBit(); };
  for (int i = 0; i < 5; ++i)
    result.lanes.push_back(take());
  for (int i = 0; i < warpBits; ++i)
    result.warps.push_back(take());
  while (next < bits.size())
    result.registers.push_back(take());
  return result;
}

/// What accumulator and left operand share: one tile of 16 rows in a warp, then columns, then rows.
static Layout mmaRows(int64_t rows, int columnBits, int lastOwnColumn, int warpRows, int warpColumns) {
  Layout result;
  result.registers = {{1, 0}, {0, 3}};
  result.lanes = {{1, 1}, {1, 2}, {0, 0}, {0, 1}, {0, 2}};
  for (int i = 3; i < lastOwnColumn; ++i)
    result.registers.push_back({1, i});
  int rowBits = std::max(4, log2Ceil(rows)), row = 4;
  for (int i = 0; i < warpRows; ++i)
    result.warps.push_back(row < rowBits ? LayoutBit{0, row++} : LayoutBit());
  for (int i = 0; i < warpColumns; ++i)
    result.warps.push_back(lastOwnColumn + i < columnBits ? LayoutBit{1, lastOwnColumn + i} : LayoutBit());
  while (row < rowBits)
    result.registers.push_back({0, row++});
  return result;
}

Layout Layout::mmaAccumulator(int64_t rows, int64_t columns, int warpRows, int warpColumns) {
  int columnBits = std::max(3, log2Ceil(columns));
  return mmaRows(rows, columnBits, std::max(3, columnBits - warpColumns), warpRows, warpColumns);
}

Layout Layout::mmaLhs(int64_t rows, int64_t inner, int warpRows, int warpColumns) {
  int innerBits = std::max(4, log2Ceil(inner));
  return mmaRows(rows, innerBits, innerBits, warpRows, warpColumns);
}

Layout Layout::mmaPackedRows(int64_t rows, int64_t inner) {
  Layout result;
  result.registers = {{1, 0}, {1, 1}, {1, 2}};
  result.lanes = {{1, 3}, {1, 4}};
  int rowBits = log2Ceil(rows);
  for (int i = 0; i < 3; ++i)
    result.lanes.push_back(i < rowBits ? LayoutBit{0, i} : LayoutBit());
  for (int i = 5; i < log2Ceil(inner); ++i)
    result.registers.push_back({1, i});
  if (rowBits > 3)
    result.registers.push_back({0, 3});
  return result;
}

Layout Layout::mmaPackedAccumulator(int64_t rows, bool isLeft) {
  // Lane group g reads weight row g / 2 + 4 * (g % 2).
  Layout result;
  if (!isLeft) {
    result.registers = {{1, 2}, {0, 3}};
    result.lanes = {{1, 0}, {1, 1}, {0, 0}, {0, 1}, {0, 2}};
    return result;
  }
  result.registers = {{1, 0}, {0, 3}};
  result.lanes = {{1, 1}, {1, 2}, {0, 2}, {0, 0}, {0, 1}};
  if (rows > 8)
    result.registers.push_back({1, 3});
  return result;
}
