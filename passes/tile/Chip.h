//===- Chip.h - what a lowering must know about a chip ---------------------===//
//
// The one place for numbers of a chip. Passes and lowerings ask here.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_CHIP_H
#define INLAY_PASSES_TILE_CHIP_H

#include "llvm/ADT/StringRef.h"

#include <algorithm>
#include <cstdint>

namespace inlay {
struct Chip {
  llvm::StringLiteral name;
  int64_t multiprocessors;
  int64_t sharedBytes;         // of a multiprocessor
  int64_t reservedSharedBytes; // of these, taken by the system for each block
  int64_t blockSharedBytes;    // the most that one block may have

  /// Shared memory of a block where `slots` of them share a multiprocessor.
  constexpr int64_t slotSharedBytes(int64_t slots) const {
    return std::min(sharedBytes / slots - reservedSharedBytes, blockSharedBytes);
  }

  /// Blocks that run at a time in clusters of so many, `slots` a multiprocessor: a cluster stays within one of the
  /// chip's parts, whose numbers of multiprocessors differ. An H200 has room for 132 clusters of 2, 79 of 3, 62 of 4
  /// and 30 of 8 in its 264 slots (cuOccupancyMaxActiveClusters), others for fewer; what does not fit waits for a
  /// second round.
  constexpr int64_t residentBlocks(int64_t cluster, int64_t slots) const {
    return slots * multiprocessors * (cluster <= 2 ? 100 : 88) / 100;
  }
};

/// H100 and H200 SXM; CUDA C++ Programming Guide, "Compute Capability 9.0".
inline constexpr Chip kHopper = {"sm_90a", 132, 228 * 1024, 1024, 227 * 1024};
} // namespace inlay

#endif // INLAY_PASSES_TILE_CHIP_H
