//===- AttentionLoop.h - online softmax over the keys of a program ---------===//
//
// What the families for attention need to know of a program: which loop runs over
// the keys, which products it has, and which of its values are the running maxima,
// sums and outputs. All arithmetic on scores (scale, soft-cap, masks) stays in the
// program, where the lowering evaluates it.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_ATTENTIONLOOP_H
#define INLAY_PASSES_TILE_ATTENTIONLOOP_H

#include "dialects/tile/Tile.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace inlay {
/// for each step of keys:
///   masked = f(scores = queries x keys^T);  top' = max(top, reduce max masked);  weights = f(masked, top')
///   sum' = sum * 2^(top - top') + reduce add weights;  out' = out * 2^(top - top') + weights x values
/// and, in a cluster, the three merged over its blocks in the same way.
struct AttentionLoop {
  mlir::scf::ForOp loop;
  tile::GatherOp queries, keys, values;
  tile::DotOp scores, outputs;
  mlir::Value masked, weights; // rows x keys, f32
  mlir::Value top;             // of this step and those before
  mlir::Value carriedTop;
  mlir::Value lastTop;            // after the loop
  mlir::Value finalSum, finalOut; // after the loop and the cluster's merge
  tile::ScatterOp store;
  int64_t rows = 0, keysPerStep = 0, headDim = 0;
};

/// The attention of `program`; failure, with a diagnostic at what is not as above.
mlir::FailureOr<AttentionLoop> findAttentionLoop(tile::ProgramOp program);
} // namespace inlay

#endif // INLAY_PASSES_TILE_ATTENTIONLOOP_H
