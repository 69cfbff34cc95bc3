//===- UniquePrograms.h - programs of the same text become one ------------===//
//
// Groups of different layers and entry points often have the same program. A
// module keeps each distinct one once, and launches refer to it.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_DIALECTS_TILE_UNIQUEPROGRAMS_H
#define INLAY_DIALECTS_TILE_UNIQUEPROGRAMS_H

#include "dialects/tile/Tile.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/StringMap.h"

namespace inlay::tile {
/// Attribute of a program: the ops of the model that its first launch computes, for people.
constexpr llvm::StringLiteral kOriginAttr = "origin";

/// The programs of one module by their text without name, origin and locations.
class UniquePrograms {
public:
  /// Moves `program` to the end of the module of `symbols` under `name`, made unique. If the module already has a
  /// program of the same text, `program` is erased. Returns the symbol to launch. `origin` is not compared.
  mlir::StringAttr insert(ProgramOp program, const llvm::Twine &name, mlir::SymbolTable &symbols);

private:
  llvm::StringMap<mlir::StringAttr> symbolOfText;
};
} // namespace inlay::tile

#endif // INLAY_DIALECTS_TILE_UNIQUEPROGRAMS_H
