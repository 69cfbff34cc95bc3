//===- SumFusion.h - what follows a sum over ranks in its kernel -------------===//
//
// A GPU's kernel that pushes rows to the other ranks and sums what they push has tiles of the sum in registers. So ops
// on single elements, and the parts of a split norm, can follow before the sum is stored.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_LLM_SUMFUSION_H
#define INLAY_PASSES_LLM_SUMFUSION_H

#include "passes/llm/FusionCost.h"

#include <optional>

namespace inlay::llm {
/// Why the ops that follow `sum` in steps of up to `maxRows` rows need kernels of their own; empty if they do not. A
/// sum in two hops is stored between them.
std::string sumRefusal(AllReduceOp sum, int64_t maxRows);

/// A sum over ranks and the residual that is added to it, which a norm takes.
struct NormedSum {
  AllReduceOp sum;
  AddOp add;
};
/// What `norm` takes, if it is such a sum that nothing else reads.
std::optional<NormedSum> normedSumOf(NormInterface norm);

/// Why the kernel of `product`, which norms its rows by `norm`, does not receive `rows` while it stages them, in steps
/// of up to `maxRows` rows; empty if it does.
std::string prologueRefusal(NormedSum rows, NormInterface norm, LinearOp product, int64_t maxRows);

/// Why the kernel of `producer`, which computes the rows of `sum`, does not push them to the other ranks
/// (llm-push-sums); empty if it does.
std::string pushRefusal(AllReduceOp sum, const OpSet &producer);

/// Why the kernel of `sum`, a sum over ranks and what follows it, does not norm whole rows and quantize them; empty if
/// it does. A block then has a row instead of a part of several.
std::string normRefusal(NormInterface norm, const OpSet &sum);

/// Whether `op` computes a tile from tiles at the same place.
bool isOfTiles(mlir::Operation *op);
} // namespace inlay::llm

#endif // INLAY_PASSES_LLM_SUMFUSION_H
