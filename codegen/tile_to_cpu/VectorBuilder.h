//===- VectorBuilder.h - loops, addresses and vectors ----------------------===//
//
// What the lowering says again and again, in few words. Nothing here knows of tiles.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_CODEGEN_TILE_TO_CPU_VECTORBUILDER_H
#define INLAY_CODEGEN_TILE_TO_CPU_VECTORBUILDER_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace inlay::cpu {

/// Elements of the widest vector. The same for every CPU, so that sums have one order; LLVM splits what is too wide.
inline constexpr int64_t kLanes = 16;

/// A rank-2 array in memory whose rows are contiguous. A vector is one row.
struct Memory {
  mlir::Value pointer;
  mlir::Value stride; // index: elements from a row to the next
  mlir::Type element; // i1 lies in bytes, index in 64 bits
};

/// The pointer of a row's first element and how many elements it has; without a limit: all that are asked for.
struct Row {
  mlir::Value pointer;
  mlir::Value limit; // index
};

class VectorBuilder : public mlir::OpBuilder {
public:
  using OpBuilder::OpBuilder;
  using Combine = llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)>;

  /// Where the ops being made come from.
  mlir::Location loc = getUnknownLoc();

  // Scalars. A null condition is true.
  mlir::Value index(int64_t value);
  mlir::Value add(mlir::Value a, mlir::Value b);
  mlir::Value sub(mlir::Value a, mlir::Value b);
  mlir::Value mul(mlir::Value a, mlir::Value b);
  mlir::Value compare(mlir::arith::CmpIPredicate predicate, mlir::Value a, mlir::Value b);
  mlir::Value both(mlir::Value a, mlir::Value b);
  mlir::Value toIndex(mlir::Value integer);

  // Control.
  /// Calls `body` for 0, step, 2 step, ... under `count`: once, or in a loop.
  void forEach(int64_t count, int64_t step, llvm::function_ref<void(mlir::Value)> body);
  /// Calls `body` in a loop over [start, end).
  void forRange(mlir::Value start, mlir::Value end, llvm::function_ref<void(mlir::Value)> body);
  /// Covers [0, count) with blocks of `most`, then of smaller powers of two.
  void forBlocks(int64_t count, int64_t most, llvm::function_ref<void(mlir::Value start, int64_t size)> body);
  /// The same, carrying values.
  llvm::SmallVector<mlir::Value>
  carry(int64_t count, int64_t step, mlir::ValueRange inits,
        llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value, mlir::ValueRange)> body);
  /// Runs a branch; without a condition, `thenBody` alone.
  void ifElse(mlir::Value condition, llvm::function_ref<void()> thenBody, llvm::function_ref<void()> elseBody = {});
  llvm::SmallVector<mlir::Value> choose(mlir::Value condition, mlir::TypeRange types,
                                        llvm::function_ref<llvm::SmallVector<mlir::Value>()> thenBody,
                                        llvm::function_ref<llvm::SmallVector<mlir::Value>()> elseBody);

  // Memory.
  mlir::Value address(mlir::Value pointer, mlir::Value offset, mlir::Type element);
  Row row(const Memory &memory, mlir::Value index);
  /// `width` elements of a row from `column`; those past its limit are 0 or are not written.
  mlir::Value load(Row row, mlir::Value column, int64_t width, mlir::Type element);
  void store(mlir::Value vector, Row row, mlir::Value column);
  mlir::Value gather(mlir::Value pointer, mlir::Value indices, mlir::Value mask, mlir::Type element);
  void scatter(mlir::Value vector, mlir::Value pointer, mlir::Value indices, mlir::Value mask);

  // Vectors.
  mlir::Value constant(mlir::Type type, double value);
  mlir::Value splat(mlir::Value scalar, int64_t width);
  mlir::Value first(mlir::Value vector);
  /// 0, 1, 2, ... of i32.
  mlir::Value laneNumbers(int64_t width);
  /// Every second lane of the concatenation of `a` and `b` (null: of `a`), from `start`.
  mlir::Value everySecond(mlir::Value a, mlir::Value b, int64_t start);
  /// Combines neighbouring lanes until one is left.
  mlir::Value combineLanes(mlir::Value vector, Combine combine);
  /// Element i is the sum of the lanes of vectors[i], neighbours first, as combineLanes does. Their count is a power of
  /// two and at most kLanes.
  mlir::Value sumLanes(llvm::SmallVector<mlir::Value> vectors);
  mlir::Value toF32(mlir::Value vector);
  /// Numbers of e4m3 codes, a vector of i8, as `element`, and the codes of f32. NaN stays NaN; what is larger than
  /// 448 becomes that, as on GPUs.
  mlir::Value decodeE4M3(mlir::Value codes, mlir::Type element);
  mlir::Value encodeE4M3(mlir::Value numbers);

private:
  mlir::Type storage(mlir::Type element);
  unsigned alignment(mlir::Type element);
  mlir::Value fromStorage(mlir::Value vector, mlir::Type element);
  mlir::Value toStorage(mlir::Value vector);
  mlir::Value addresses(mlir::Value pointer, mlir::Value indices, mlir::Type element);
  mlir::Value laneMask(mlir::Value count, int64_t width);
};

} // namespace inlay::cpu

#endif // INLAY_CODEGEN_TILE_TO_CPU_VECTORBUILDER_H
