//===- ProgramLowering.h - one tile program to one function ----------------===//
//
// The state of the lowering of a program: where its scalars and tiles are. What
// evaluates tiles stands in Expressions.cpp, products in Dot.cpp, everything that
// happens in order in ConvertTileToCpu.cpp.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_CODEGEN_TILE_TO_CPU_PROGRAMLOWERING_H
#define INLAY_CODEGEN_TILE_TO_CPU_PROGRAMLOWERING_H

#include "codegen/tile_to_cpu/Passes.h"
#include "codegen/tile_to_cpu/VectorBuilder.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"

#include <map>
#include <optional>

namespace inlay::cpu {

/// Neighbouring elements of a row of a tile. Tiles of rank 1 are one row, which is null.
struct Position {
  mlir::Value row, column; // index
  int64_t width;
};

/// Rows and columns of a tile of rank 0, 1 or 2.
struct Shape {
  int64_t rows, columns;
};
Shape shapeOf(mlir::Value tile);
mlir::Type elementOf(mlir::Value tile);

/// The most rows of a block of a product.
inline constexpr int64_t kMaxDotRows = 4;

/// A quantized weight that a product reads a unit at a time: a vector of words, with several codes each.
struct UnpackedWeight {
  explicit UnpackedWeight(tile::DequantizeOp op);

  tile::Codes codes;
  int64_t group, zeroPoint;
  int64_t fields;                    // codes of a word
  int64_t unit;                      // columns of a vector of words
  int64_t rowBytes = 0;              // from a row of the weight to the next
  bool isOneGroup = false;           // all columns of a tile share a scale
  tile::LoadOp bytes, scales, zeros; // zeros may be null

  int64_t shiftOf(int64_t field) const;
  double factorOf(int64_t field) const;
};

class ProgramLowering : VectorBuilder {
public:
  ProgramLowering(tile::ProgramOp program, mlir::func::FuncOp function);
  mlir::LogicalResult run();

private:
  // Expressions.cpp: the elements of tiles.
  /// A vector of the tile's elements.
  mlir::Value evaluate(mlir::Value tile, Position at);
  /// What elements of a row have in common is computed here, outside the loop over its columns.
  void prepareRow(mlir::Value tile, mlir::Value row);
  /// One element, as a scalar.
  mlir::Value evaluateScalar(mlir::Value tile, mlir::Value row, mlir::Value column);
  mlir::Value evaluateExpression(mlir::OpResult tile, Position at);
  mlir::Value evaluateConstant(mlir::arith::ConstantOp op, Position at);
  mlir::Value evaluateElementwise(mlir::Operation *op, Position at);
  mlir::Value evaluateElementGather(tile::GatherOp op, Position at);
  // Dequantize.cpp.
  mlir::Value evaluateDequantize(tile::DequantizeOp op, Position at);
  /// What codes of a tile of bytes stand for, as f32.
  mlir::Value evaluateCodes(tile::DequantizeOp op, Position at);
  /// Codes of 4 bits, as i32.
  mlir::Value evaluateHalfBytes(mlir::Value bytes, Position at);
  mlir::Value lookUpNf4(mlir::Value codes);
  /// A row of the memory behind a load, a gather of rows, a store or a scatter of rows.
  Row rowOf(mlir::Operation *access, mlir::Value row);
  Row rectangleRow(mlir::Value tile, mlir::Value view, mlir::ValueRange offsets, mlir::Value row);
  Row indexedRow(mlir::Value tile, mlir::Value view, mlir::Value indices, mlir::Value column, mlir::Value row);
  /// Elements of a dimension of a view; null where nothing checks it.
  mlir::Value sizeOf(mlir::Value view, int64_t dimension);
  mlir::Value extent(tile::Extent which);
  /// index < size without sign, for one index or a vector of them.
  mlir::Value isInside(mlir::Value index, mlir::Value size);
  mlir::Value twice(mlir::Value column);
  /// How many rows from the first may differ from 0, since the others lie past the step's end; null: all.
  mlir::Value liveRows(mlir::Value tile);

  // Tiles in memory.
  Memory scratch(int64_t rows, int64_t columns, mlir::Type element);
  /// Computes the whole tile into memory.
  void fill(const Memory &memory, mlir::Value tile);
  void fillRow(const Memory &memory, mlir::Value tile, mlir::Value row);
  Memory materialize(mlir::Value tile);
  Memory scratchFor(mlir::Value tile);
  /// What begins at an element of `whole`.
  Memory partOf(const Memory &whole, mlir::Value row, mlir::Value column);

  // Dot.cpp.
  void lower(tile::DotOp op);
  /// The rows of an operand as f32, in scratch, padded with zeros to `columns`.
  Memory widened(mlir::Value tile, int64_t columns);
  /// The rows of the right operand: in place if they can be, otherwise in scratch padded to `columns`.
  Memory rowsInPlace(mlir::Value tile, int64_t columns);
  /// result[row, column ..] = accumulator + sum.
  void storeSum(tile::DotOp op, const Memory &result, mlir::Value sum, mlir::Value row, mlir::Value column);
  using DotBlock = llvm::function_ref<void(mlir::Value m0, int64_t rows, mlir::Value n0, int64_t columns)>;
  /// Covers the results of a product with blocks, as far as its rows are live.
  void dotOfRows(tile::DotOp op, const Memory &result, DotBlock block);
  /// One block of dotOfRows: `rowCount` x `columnCount` results from (m0, n0).
  void blockOfRows(tile::DotOp op, const Memory &lhs, const Memory &rhs, const Memory &result, mlir::Value m0,
                   int64_t rowCount, mlir::Value n0, int64_t columnCount);
  // DotQuantized.cpp.
  /// The right operand of a product that unpacks it in registers; nothing where it has to be made before.
  std::optional<UnpackedWeight> unpackedWeight(tile::DotOp op);
  /// The rows of the left operand as f32, in scratch and in the order of the fields.
  Memory orderedByFields(mlir::Value tile, const UnpackedWeight &weight);
  mlir::SmallVector<mlir::Value> unpackFields(const UnpackedWeight &weight, mlir::Value words, mlir::Value zero);
  mlir::Value ofUnit(const UnpackedWeight &weight, tile::LoadOp groups, mlir::Value row, mlir::Value first,
                     bool isLast);
  /// blockOfRows with a right operand that is unpacked in registers.
  void blockOfFields(tile::DotOp op, const UnpackedWeight &weight, const Memory &lhs, const Memory &result,
                     mlir::Value m0, int64_t rowCount, mlir::Value n0, int64_t columnCount);
  void dotOfColumns(tile::DotOp op, const Memory &lhs, const Memory &rhs, const Memory &result);

  // ConvertTileToCpu.cpp: ops in order.
  mlir::LogicalResult lowerBlock(mlir::Block &block);
  mlir::LogicalResult lowerOp(mlir::Operation *op);
  mlir::LogicalResult lower(mlir::scf::ForOp op);
  mlir::LogicalResult lower(mlir::scf::IfOp op);
  mlir::LogicalResult lower(mlir::scf::WhileOp op);
  mlir::LogicalResult lower(tile::ForWarpsOp op);
  mlir::LogicalResult lower(mlir::tensor::ExtractSliceOp op);
  mlir::LogicalResult lower(mlir::tensor::ConcatOp op);
  void lower(tile::StoreOp op);
  void lower(tile::ScatterOp op);
  void lower(tile::ReadOp op);
  void lower(tile::ReduceOp op);
  void lower(tile::ArgMaxOp op);
  void lower(tile::TransposeOp op);
  mlir::Value combine(tile::Reduction kind, mlir::Value a, mlir::Value b);
  mlir::Value identity(tile::Reduction kind, mlir::Type type);
  void storeRow(mlir::Value tile, mlir::Value row, Row target);
  mlir::SmallVector<mlir::Value> scalarsOf(mlir::ValueRange values);
  void mapScalars(mlir::ValueRange from, mlir::ValueRange to);
  /// Writes the tiles among `values` to `targets`, which some of them may read.
  void assignTiles(mlir::ValueRange values, llvm::ArrayRef<Memory> targets);
  llvm::SmallVector<Memory> scratchForTiles(mlir::ValueRange values);
  void mapTiles(mlir::ValueRange values, llvm::ArrayRef<Memory> memories);

  tile::ProgramOp program;
  mlir::func::FuncOp function;
  llvm::DenseSet<mlir::Value> toMaterialize;
  mlir::IRMapping scalars; // also views: their pointers
  llvm::DenseMap<mlir::Value, Memory> memories;
  /// Results of evaluate and rowOf. One is used again only where its region is around the new use.
  llvm::DenseMap<std::tuple<mlir::Value, mlir::Value, mlir::Value, int64_t>, mlir::Value> evaluated;
  llvm::DenseMap<std::pair<mlir::Operation *, mlir::Value>, Row> rows;
  llvm::DenseMap<mlir::Value, mlir::Value> doubled;
  std::map<tile::Extent, mlir::Value> extents;
  mlir::Value nf4; // the memory with its 16 numbers
  bool isVisible(mlir::Value value);
};

} // namespace inlay::cpu

#endif // INLAY_CODEGEN_TILE_TO_CPU_PROGRAMLOWERING_H
