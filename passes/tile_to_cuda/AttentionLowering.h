//===- AttentionLowering.h - what a kernel of attention begins with --------===//
//
// The family decode_attention streams pages of keys and values through shared memory by
// TMA and runs online softmax in registers. Here is what does not depend on how it does
// so: the scalars of a block, the rows whose positions the host wrote, and the maps of the
// caches.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_ATTENTIONLOWERING_H
#define INLAY_PASSES_TILE_TO_CUDA_ATTENTIONLOWERING_H

#include "passes/tile/AttentionLoop.h"
#include "passes/tile/AttentionSchedule.h"
#include "passes/tile_to_cuda/Families.h"
#include "passes/tile_to_cuda/PointEvaluator.h"

namespace inlay {
/// Positions that one copy brings, a row of a slab in shared memory, and the pieces that its swizzle moves.
inline constexpr int64_t kKeys = AttentionShape::keysPerCopy, kRowBytes = AttentionShape::slabBytes,
                         kChunkBytes = AttentionShape::chunkBytes;
/// Columns of a slab as copies see them: elements of 16 bits, or pairs of codes.
inline constexpr int64_t kMapColumns = kRowBytes / 2;
inline constexpr int64_t kWarp = 32;

class AttentionLowering {
protected:
  using Value = mlir::Value;
  using LogicalResult = mlir::LogicalResult;

  AttentionLowering(tile::ProgramOp program, const AttentionLoop &loop, cuda::KernelOp kernel)
      : program(program), loop(loop), kernel(kernel), shape(shapeOf(loop)),
        b(mlir::UnknownLoc::get(program.getContext()), program.getContext()),
        block(b, [&](Value view) { return pointerOf(view); }, [](Value, mlir::ArrayRef<Value>) { return Value(); }) {}

  Value pointerOf(Value view) { return kernel.getArgument(mlir::cast<mlir::BlockArgument>(view).getArgNumber()); }
  /// Of the keys (0) and of the values (1).
  Value tensorMap(unsigned i) { return kernel.getArgument(program.getNumArguments() + i); }
  /// Evaluates inside the loop or after it: what the block knows is not computed again.
  PointEvaluator evaluator(PointEvaluator::Source source);
  /// The scalars of the block, then what `attend` builds, in the branch that the program has for tiles of nobody.
  LogicalResult build(llvm::function_ref<LogicalResult()> attend);
  /// What the host wrote about rows of the tile (their positions), before the loop that compares with them.
  LogicalResult loadPositions(llvm::ArrayRef<Value> rows);
  /// Boxes of kKeys positions x a slab.
  void addCacheMaps();
  /// The type that is multiplied.
  mlir::Type queryType() { return loop.queries.getView().getType().getElementType(); }

  tile::ProgramOp program;
  AttentionLoop loop;
  cuda::KernelOp kernel;
  AttentionShape shape;
  KernelBuilder b;
  PointEvaluator block; // what is the same in the whole block, and what is known of rows

private:
  LogicalResult evaluateScalars(mlir::Block &body);
};

/// Fails with a diagnostic unless the program has the tile of its schedule.
mlir::LogicalResult requireTile(tile::ProgramOp program, const AttentionLoop &loop);

/// Whether the rows that `loop` gathers come in runs of kKeys within one page.
mlir::LogicalResult requireRunsOfKeys(const AttentionLoop &loop);
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_ATTENTIONLOWERING_H
