//===- LibraryProduct.h - programs that a library computes -----------------===//
//
// A program with the schedule `#tile.cublaslt` is a linear layer as any other: it says what
// is computed, and the cpu target can run it. No kernel is made of it; what the
// library must be told is read off the program here.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_LIBRARYPRODUCT_H
#define INLAY_PASSES_TILE_LIBRARYPRODUCT_H

#include "dialects/tile/Tile.h"

#include <optional>

namespace inlay {
/// Columns of a view that a library reads or writes.
struct LibraryOperand {
  unsigned argument = 0; // of the program
  int64_t column = 0;    // the first
  int64_t pitch = 0;     // elements from row to row
  mlir::Type elementType;
};

/// output = input x transpose of weight, plus the residual.
struct LibraryProduct {
  LibraryOperand input, weight, output;
  std::optional<LibraryOperand> residual;
  tile::Extent rows = tile::Extent::Tokens;
  int64_t columns = 0, k = 0;
};

/// Whether the schedule of `program` is `#tile.cublaslt`.
bool isLibraryProduct(tile::ProgramOp program);

/// Whether a kernel is compiled for `program`: not for products of a library, nor for collectives.
bool isCompiled(tile::ProgramOp program);

/// What the library is told; a diagnostic names the op that it cannot do.
mlir::FailureOr<LibraryProduct> findLibraryProduct(tile::ProgramOp program);
} // namespace inlay

#endif // INLAY_PASSES_TILE_LIBRARYPRODUCT_H
