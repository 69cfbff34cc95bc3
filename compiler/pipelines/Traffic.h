//===- Traffic.h - bytes that a kernel must move, and its flops ------------===//
//
// Traffic is computed from a tile program. Each element of a view counts once, even if the program loads it several
// times. bench-model --profile compares measured times with these figures. The runtime does not need them, so they are
// in the manifest and not in the plan.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_COMPILER_PIPELINES_TRAFFIC_H
#define INLAY_COMPILER_PIPELINES_TRAFFIC_H

#include "dialects/tile/Tile.h"
#include "llvm/Support/JSON.h"

namespace inlay {

/// Returns, for example, `{"reads": {"fixed": 33554432, "tokens": 4096, "context": 2048}, "writes": {"tokens": 8192},
/// "flops": {"tokens": ...}}`. Reads and writes are in bytes. Each amount is multiplied by the quantity that its key
/// names: `fixed` by 1 per launch, the name of an extent by that size of the step, `context` by the attended positions,
/// summed over sequences, and `pairs` by the number of pairs of a row and a position that it attends to. `window`, if
/// present, is the maximum number of attended positions per sequence.
llvm::json::Object describeTraffic(tile::ProgramOp program);

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_TRAFFIC_H
