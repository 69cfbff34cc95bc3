//===- LaunchedSteps.h - the steps in which a program is launched ----------===//

#ifndef INLAY_PASSES_TILE_LAUNCHEDSTEPS_H
#define INLAY_PASSES_TILE_LAUNCHEDSTEPS_H

#include "dialects/tile/Tile.h"

namespace inlay {
struct LaunchedSteps {
  llvm::SmallVector<tile::EntryOp> entries; // that launch the program, in the order of the module
  bool isDecode = true;                     // all of them
  int64_t sequences = 0;                    // at the most; 0: no entry launches the program
  int64_t queryTileRows = 1;                // at the most
};

LaunchedSteps launchedSteps(tile::ProgramOp program);

/// The programs that `entry` launches, each once.
llvm::SmallVector<tile::ProgramOp> launchedPrograms(tile::EntryOp entry);
} // namespace inlay

#endif // INLAY_PASSES_TILE_LAUNCHEDSTEPS_H
