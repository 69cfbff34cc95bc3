//===- Chip.h - what a lowering must know about a chip ---------------------===//
//
// The one place for numbers of a chip. Passes and lowerings ask here.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_CHIP_H
#define INLAY_PASSES_TILE_CHIP_H

#include "llvm/ADT/StringRef.h"

#include <cstdint>

namespace inlay {
struct Chip {
  llvm::StringLiteral name;
  int64_t multiprocessors;
  int64_t sharedBytes;         // of a multiprocessor
  int64_t reservedSharedBytes; // of these, taken by the system for each block
  int64_t blockSharedBytes;    // the most that one block may have
};

/// H100 and H200 SXM; CUDA C++ Programming Guide, "Compute Capability 9.0".
inline constexpr Chip kHopper = {"sm_90a", 132, 228 * 1024, 1024, 227 * 1024};
} // namespace inlay

#endif // INLAY_PASSES_TILE_CHIP_H
