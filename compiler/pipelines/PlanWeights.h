//===- PlanWeights.h - the plan's description of a weight ------------------===//
//
// How the loader of a bundle makes a weight of the llm dialect from tensors of the checkpoint, how the weight is packed
// and quantized, and where it is in the file of weights.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_COMPILER_PIPELINES_PLANWEIGHTS_H
#define INLAY_COMPILER_PIPELINES_PLANWEIGHTS_H

#include "mlir/IR/Operation.h"
#include "runtime/bundle/plan_generated.h"
#include "llvm/ADT/DenseMap.h"

namespace inlay {

/// Describes `op`, an llm.weight or llm.rope_table of `stage`, at `fileOffset` (bytes), and advances `fileOffset` to
/// the next weight. `pack`: the launch that packs it, which reads elements of `sourceType`; null if none does.
/// `indices`: the numbers of all weights, among them its scales and zero points.
mlir::FailureOr<flatbuffers::Offset<plan::Weight>>
buildWeight(flatbuffers::FlatBufferBuilder &builder, mlir::Operation *op, uint64_t &fileOffset, uint32_t stage,
            flatbuffers::Offset<plan::Launch> pack, plan::DataType sourceType,
            const llvm::DenseMap<mlir::Operation *, uint32_t> &indices);

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_PLANWEIGHTS_H
