//===- Tile.h - the tile dialect -------------------------------------------===//
//
// The dialect's types, ops and schedules. Their meaning stands in TileOps.td and
// TileSchedules.td.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_DIALECTS_TILE_TILE_H
#define INLAY_DIALECTS_TILE_TILE_H

#include "dialects/tile/LinearLayout.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/IR/TensorEncoding.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include <array>
#include <optional>

namespace inlay::tile {
/// What a schedule says of the copies that run ahead of products.
struct PipelineShape {
  int64_t stages;
  /// Warps that fetch and warps that multiply, and the registers of their threads; 0: as the compiler divides them.
  /// Without producers each warp fetches for itself.
  int64_t producers, consumers, producerRegisters = 0, consumerRegisters = 0;
  /// Products whose operands come through rings, one ring each.
  int64_t products = 1;
  /// Weights are read by one block only, so that no cache need keep them.
  bool streamsWeights = false;
  /// Warpgroups of the consumers start products one after the other, so that one has the tensor cores while another is
  /// busy with its registers.
  bool takesTurns = false;
  /// Blocks that must fit a multiprocessor, and the shared memory that one may have; 0: all.
  int64_t slots = 1, sharedBytes = 0;
};

/// What a block of a program of attention takes at a time.
struct AttentionTile {
  int64_t queryRows; // rows of a sequence in a query tile: query_tile_rows of the entries that launch the program
  int64_t rows;      // of the matrices: those rows times the query heads of a group, and padding
  int64_t keys;      // of one step of the loop over keys
};
} // namespace inlay::tile

#include "dialects/tile/TileDialect.h.inc"
#include "dialects/tile/TileEnums.h.inc"
#include "dialects/tile/TileInterfaces.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/tile/TileAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/tile/TileTypes.h.inc"
#define GET_OP_CLASSES
#include "dialects/tile/TileOps.h.inc"

namespace inlay::tile {
/// Weights packed as `atom_8x64`: groups of 8 rows, each a run of atoms of 64 columns of 16 bits, swizzled by 128
/// bytes.
inline constexpr int64_t kGroupRows = 8, kAtomColumns = 64, kAtomBytes = 1024;

/// A tile in a slot, or staged as the left side of asynchronous products, is cut into slabs: all of its rows, 128 bytes
/// of each, swizzled.
inline constexpr int64_t kSlabBytes = 128;
int64_t slabsOf(mlir::RankedTensorType tile);
int64_t slabBytes(mlir::RankedTensorType tile);

/// Attribute of a program's argument that says so.
constexpr llvm::StringLiteral kPackingAttr = "tile.packing", kAtomPacking = "atom_8x64";

/// Codes of quantized weights packed as `codes_16x128`: groups of 16 rows, each a run of units of 128 columns. Scales
/// and zero points beside them (`rows_16`): for each group of rows and each column, 16 numbers.
constexpr llvm::StringLiteral kCodesPacking = "codes_16x128", kRowsPacking = "rows_16";
inline constexpr int64_t kUnitRows = 16, kUnitColumns = 128;
/// Rows of codes of 8 bits that are multiplied by such weights: each 16 neighbours lie as they do there.
constexpr llvm::StringLiteral kCodeRowsPacking = "codes_16";
/// Rows and columns that a matrix with this packing is padded to.
std::array<int64_t, 2> packedUnits(llvm::StringRef packing);
/// Codes that lie in 16 bytes: neighbours of a row in the order that products take from a word.
constexpr int64_t codesOfPiece(int64_t bits) { return 128 / bits; }
/// From the number of a code in a unit to its row and column. In memory, the first of two codes of 4 bits is the lower
/// half of their byte.
LinearLayout codeLayout(int64_t bits);

/// Registers that a block of so many threads is launched with, where it is alone on a multiprocessor. Its warps divide
/// them among each other; a warp that asks for more waits forever.
int64_t registerPool(int64_t threads);

/// Ranks whose kernels can exchange rows: the entries of a PeerTable (codegen/device/peers.h).
inline constexpr int64_t kMostExchangeRanks = 8;
/// Bytes that a rank pushes at a time.
inline constexpr int64_t kExchangeWordBytes = 16;
/// The most rows, of `rowBytes` on each of `ranks` ranks, that are summed in one shot.
int64_t oneShotRows(TargetAttr target, int64_t ranks, int64_t rowBytes);
/// Bytes of the buffer of a round on each rank, for steps of up to `rows` rows of which a rank has `rowBytes` each.
int64_t exchangeBytes(TargetAttr target, CollectiveKind kind, int64_t ranks, int64_t rows, int64_t rowBytes);

/// The rows of a tile of the family swap_ab for steps of at most `rows`.
int64_t swapAbTileRows(int64_t rows);

/// Blocks that share a program id of `program`: those of a cluster of its schedule, or 1.
int64_t clusterOf(ProgramOp program);

/// The layout of a tile in registers, by the encoding of its type; none where it has no #tile.layout.
std::optional<LinearLayout> layoutOf(mlir::Type tile);
inline std::optional<LinearLayout> layoutOf(mlir::Value tile) { return layoutOf(tile.getType()); }
/// The type of a tile that lies so in registers.
mlir::RankedTensorType withLayout(mlir::RankedTensorType tile, const LinearLayout &layout);

/// Attribute of a program: the warps of a block, among which tile-assign-layouts divided its tiles. Warps that only
/// fetch are not among them.
constexpr llvm::StringLiteral kWarpsAttr = "tile.warps";

/// Attribute of an scf.for, how often a GPU's compiler unrolls it. A unit attribute: fully, so that every index is a
/// constant: slices of tiles in registers start there. An integer: so often; 1 keeps the loop.
constexpr llvm::StringLiteral kUnrollAttr = "tile.unroll";

/// Attribute of a module: the TargetAttr that its programs are compiled for.
constexpr llvm::StringLiteral kTargetAttr = "tile.target";
/// What the compiler knows of `arch` ("sm_90a": an H100 or H200 SXM); null if nothing.
TargetAttr knownTarget(mlir::MLIRContext *context, llvm::StringRef arch);
/// The target of the module around `op`; the one known as sm_90a where it has none.
TargetAttr targetOf(mlir::Operation *op);
} // namespace inlay::tile

#endif // INLAY_DIALECTS_TILE_TILE_H
