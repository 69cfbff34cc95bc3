//===- Traffic.h - bytes that a kernel must move, and its flops ------------===//
//
// Computed from a tile program: the elements of each view count once, however often the program loads them. bench-model
// --profile compares measured times with these figures. The runtime does not need them, so they are in the manifest and
// not in the plan.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_COMPILER_PIPELINES_TRAFFIC_H
#define INLAY_COMPILER_PIPELINES_TRAFFIC_H

#include "dialects/tile/Tile.h"
#include "llvm/Support/JSON.h"

namespace inlay {

/// `{"reads": {"fixed": 33554432, "tokens": 4096, "context": 2048}, "writes": {"tokens": 8192}, "flops": {"tokens":
/// ...}}`: reads and writes in bytes. `fixed` counts once a launch, an extent's name that many times the size of the
/// step, `context` once for each position of each sequence that is attended to, `pairs` once for each pair of a row and
/// a position it attends to. With `window` a sequence has at most so many positions.
llvm::json::Object describeTraffic(tile::ProgramOp program);

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_TRAFFIC_H
