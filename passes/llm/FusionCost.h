//===- FusionCost.h - what it saves and costs to fuse an op ----------------===//
//
// The numbers behind the decisions of llm-form-groups: bytes of activations that
// stay out of memory, whether a streaming kernel has registers for its row and
// the vectors of a prologue, and how long its blocks read what all of them need. Epilogues need no number: they run on
// the accumulators, an element or a pair at a time, and a kernel that spills fails to compile by name.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_LLM_FUSIONCOST_H
#define INLAY_PASSES_LLM_FUSIONCOST_H

#include "dialects/llm/Llm.h"
#include "dialects/tile/Tile.h"
#include "llvm/ADT/SetVector.h"

namespace inlay::llm {

using OpSet = llvm::SetVector<mlir::Operation *>;

/// Bytes of activations, for each row of the step, that are not moved if `op` joins the kernel of `group`: each value
/// between them is not read from memory, and not written either if nothing else reads it.
int64_t getSavedBytes(mlir::Operation *op, const OpSet &group);

/// True if a thread of the streaming kernel of `linear` on `target` has registers for its part of one row and of
/// `vectors` vectors as long as it.
bool fitsRegisters(LinearOp linear, int64_t vectors, tile::TargetAttr target);

/// Nanoseconds in which all blocks of the streaming kernel of `linear` on `target` read the same `bytes` from the
/// cache.
int64_t getReadTime(LinearOp linear, int64_t bytes, tile::TargetAttr target);

} // namespace inlay::llm

#endif // INLAY_PASSES_LLM_FUSIONCOST_H
