//===- Collective.h - what ranks do together --------------------------------===//

#ifndef INLAY_DIALECTS_TILE_COLLECTIVE_H
#define INLAY_DIALECTS_TILE_COLLECTIVE_H

#include "dialects/tile/Tile.h"

#include <optional>

namespace inlay::tile {
/// The rows that ranks exchange in a program: those of its tile.collective or of its tile.receive_sum.
struct ExchangedRows {
  mlir::Operation *op;
  CollectiveKind kind;
  ViewType view;             // of a rank's rows
  int64_t resultColumns = 0; // of a gather
  int64_t bytes = 0; // of one round's buffer, for the largest step; 0 where no kernel but a communicator exchanges them

  /// Those of `program`, if it has any.
  static std::optional<ExchangedRows> of(ProgramOp program);
};

/// Fails with a diagnostic if `store` pushes what ranks do not exchange.
mlir::LogicalResult verifyPush(StoreOp store);
/// Fails with a diagnostic if `launch` of `program`, which receives a sum early, does not follow the launch that pushes
/// the rows, or if that writes what `program` loads.
mlir::LogicalResult verifyEarlyLaunch(LaunchOp launch, ProgramOp program, mlir::SymbolTableCollection &symbols);
} // namespace inlay::tile

#endif // INLAY_DIALECTS_TILE_COLLECTIVE_H
