//===- ProgramBuilder.h - writes one tile program --------------------------===//
//
// What the conversions of all groups share: the target's tile shapes, views that
// become arguments of the program and of its launch, and short names for the
// arithmetic on tiles.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_LLM_TO_TILE_PROGRAMBUILDER_H
#define INLAY_PASSES_LLM_TO_TILE_PROGRAMBUILDER_H

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "passes/llm_to_tile/Passes.h"
#include "passes/llm_to_tile/Placement.h"

namespace inlay {

/// The step that programs are written for.
struct StepShape {
  std::string target = "cpu";
  bool decode = false; // every sequence has one row
  int64_t maxTokens = 0;
  int64_t maxSequences = 0;
  int64_t pageSize = 0;
  int64_t maxModelLen = 0;
  int64_t queryTileRows = 1; // rows of a query tile (TileRows in plan.fbs), before a schedule is chosen

  bool isCpu() const { return target == "cpu"; }
  int64_t pagesPerSequence() const { return (maxModelLen + pageSize - 1) / pageSize; }
};

/// The tile of a linear's program: rows, columns of the output, and the step along K.
struct LinearTile {
  int64_t m, n, k;
};

/// Tile shapes by target and family. `columnUnit`: the columns of a tile divide it (a head), or 0.
LinearTile chooseLinearTile(const StepShape &step, llvm::StringRef family, int64_t n, int64_t k, int64_t columnUnit);

/// A tile program under construction. Arithmetic works on scalars and tiles alike.
class ProgramBuilder : public mlir::ImplicitLocOpBuilder {
public:
  ProgramBuilder(mlir::Location loc, const StepShape &step, mlir::SymbolTable &symbols);
  ~ProgramBuilder();

  const StepShape &getStep() const { return step; }
  mlir::SymbolTable &getSymbols() { return symbols; }

  //===--- Views ----------------------------------------------------------===//
  mlir::Value metadata(llvm::StringRef name, mlir::Type elementType, tile::Extent extent);
  /// Pages of each sequence, one after the other.
  mlir::Value pageTable();
  mlir::Value weight(mlir::FlatSymbolRefAttr symbol);
  /// The codes of a quantized weight of 8 bits as what they stand for: f8E4M3FN or i8.
  mlir::Value weightCodes(mlir::FlatSymbolRefAttr symbol);
  /// The elements of a weight that is not packed, row after row.
  mlir::Value weightVector(mlir::FlatSymbolRefAttr symbol);
  /// The memory of `value` (a result of another group, or the ids of the step), rows of the buffer it lies in.
  mlir::Value activation(mlir::Value value, tile::Provenance provenance);
  /// The same memory, seen as rows of `columns` elements without an end (heads as rows).
  mlir::Value activationRows(mlir::Value value, int64_t columns, tile::Provenance provenance);
  /// The memory of the codes that an llm.quantize of this packing makes.
  mlir::Value activationCodes(mlir::Value value, tile::Provenance provenance, llm::Packing packing);
  /// The same memory of a value of one column, as a vector.
  mlir::Value activationVector(mlir::Value value, tile::Provenance provenance);
  /// The same memory, seen as elements of one row after the other without an end.
  mlir::Value activationElements(mlir::Value value, tile::Provenance provenance);
  mlir::Value cache(bool keys, int64_t layer, int64_t headDim, mlir::Type elementType);
  /// The scale of the kv head `head` (index), of the weight `name`; null without a name.
  mlir::Value cacheScale(mlir::FlatSymbolRefAttr name, mlir::Value head);

  /// Adds a view as an argument, or finds the one that the same memory already has; null where no tile.launch gives the
  /// program its arguments. Accesses to a view with an extent end there. One without has a size all the same: `rows`,
  /// in the form of count(), beyond which no access may lie.
  mlir::Value view(llvm::ArrayRef<int64_t> shape, mlir::Type elementType, tile::Provenance provenance,
                   std::optional<tile::Extent> extent, tile::MemoryAttr memory, llvm::StringRef packing = "",
                   mlir::AffineExpr rows = {});

  //===--- Values ---------------------------------------------------------===//
  mlir::RankedTensorType tileType(llvm::ArrayRef<int64_t> shape, mlir::Type elementType) {
    return mlir::RankedTensorType::get(shape, elementType);
  }
  mlir::Value index(int64_t value);
  mlir::Value i32(int32_t value);
  mlir::Value toI32(mlir::Value indexValue);
  mlir::Value toIndex(mlir::Value i32Value);
  /// A tile or scalar of `type` filled with `value`.
  mlir::Value full(mlir::Type type, double value);
  mlir::Value like(mlir::Value shaped, double value) { return full(shaped.getType(), value); }
  mlir::Value splat(mlir::Value scalar, llvm::ArrayRef<int64_t> shape);

  mlir::Value add(mlir::Value a, mlir::Value b);
  mlir::Value sub(mlir::Value a, mlir::Value b);
  mlir::Value mul(mlir::Value a, mlir::Value b);
  /// Floats that are divided by the same number of a row are multiplied by its inverse, which takes one division a row.
  mlir::Value div(mlir::Value a, mlir::Value b);
  mlir::Value rem(mlir::Value a, mlir::Value b);
  mlir::Value maximum(mlir::Value a, mlir::Value b);
  mlir::Value minimum(mlir::Value a, mlir::Value b);
  mlir::Value less(mlir::Value a, mlir::Value b);
  mlir::Value lessEqual(mlir::Value a, mlir::Value b) { return logicalNot(less(b, a)); }
  mlir::Value logicalNot(mlir::Value a);
  mlir::Value logicalAnd(mlir::Value a, mlir::Value b);
  mlir::Value select(mlir::Value c, mlir::Value a, mlir::Value b);
  /// To f32 and back; nothing where the type is already right.
  mlir::Value toF32(mlir::Value a);
  mlir::Value toType(mlir::Value a, mlir::Type elementType);
  /// `a` (f32) as a cache of `elementType` stores it: codes are the nearest to a / scale, a scalar or null.
  mlir::Value toStored(mlir::Value a, mlir::Type elementType, mlir::Value scale);
  mlir::Value reduce(tile::Reduction kind, mlir::Value a, int64_t axis);
  mlir::Value broadcast(mlir::Value vector, int64_t axis, int64_t size);
  mlir::Value iota(int64_t size);
  mlir::Value load(mlir::Value view, mlir::ValueRange offsets, llvm::ArrayRef<int64_t> shape);
  mlir::Value gather(mlir::Value view, mlir::Value indices, mlir::Value column = {}, int64_t columns = 0);
  /// `through`: how the elements are pushed to other ranks as well; null if they are not.
  void store(mlir::Value value, mlir::Value view, mlir::ValueRange offsets, tile::ExchangeAttr through = {});
  void scatter(mlir::Value value, mlir::Value view, mlir::Value indices, mlir::Value column = {});

  /// `for i in [from, to) step s` with carried values; `body` returns the next ones.
  llvm::SmallVector<mlir::Value>
  loop(mlir::Value from, mlir::Value to, int64_t stepSize, mlir::ValueRange init,
       llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value, mlir::ValueRange)> body);
  void ifThen(mlir::Value condition, llvm::function_ref<void()> body, llvm::function_ref<void()> otherwise = {});

  //===--- The end --------------------------------------------------------===//
  /// One dimension of the grid, or the rows of a view: multiplier * ceil(extent / divisor).
  static mlir::AffineExpr count(mlir::MLIRContext *context, tile::Extent extent, int64_t divisor = 1,
                                int64_t multiplier = 1);
  /// Completes the program with its grid; `attributes` are added to it.
  tile::ProgramOp finish(llvm::ArrayRef<mlir::AffineExpr> grid, llvm::ArrayRef<mlir::NamedAttribute> attributes = {});
  /// The launch's arguments, in the order of the views.
  mlir::ArrayAttr getLaunchArguments() { return getArrayAttr(launchArguments); }

private:
  StepShape step;
  mlir::SymbolTable &symbols;
  tile::ProgramOp program;
  bool finished = false;
  llvm::SmallVector<mlir::Attribute> launchArguments;
  llvm::SmallVector<mlir::Attribute> argumentAttributes;
};

/// Positions of the `rows` rows of the step from `first` on; -1 for rows of padding and past the step's end.
mlir::Value rowPositions(ProgramBuilder &b, mlir::Value first, int64_t rows);

/// The rows of `table` that the same rows of the step read: `positions`, unless the table has two parts.
mlir::Value rowsOfTable(ProgramBuilder &b, llm::RopeTableOp table, mlir::Value positions, mlir::Value first,
                        int64_t rows);

/// Rows of the cache where `kvHead` (i32) of the rows at `positions` of `sequences` lie; -1 for rows of padding.
mlir::Value cacheRows(ProgramBuilder &b, mlir::Value positions, mlir::Value sequences, mlir::Value kvHead,
                      int64_t kvHeads);

/// Gives the program of a linear layer the family of its group, or the library that computes it; nothing for a cpu.
mlir::LogicalResult setFamily(llm::GroupOp group, const StepShape &step, tile::ProgramOp program);

/// Writes the program of a group. Each returns failure after a diagnostic.
mlir::LogicalResult convertLinear(llm::GroupOp group, llm::LinearOp linear, ProgramBuilder &b, tile::ProgramOp &result);
mlir::LogicalResult convertAttention(llm::GroupOp group, llm::PagedAttentionOp op, ProgramBuilder &b,
                                     tile::ProgramOp &result);
mlir::LogicalResult convertRows(llm::GroupOp group, ProgramBuilder &b, tile::ProgramOp &result);
mlir::LogicalResult convertHeads(llm::GroupOp group, ProgramBuilder &b, tile::ProgramOp &result);
mlir::LogicalResult convertSample(llm::GroupOp group, llm::SampleOp op, ProgramBuilder &b, tile::ProgramOp &result);
mlir::LogicalResult convertSampleCandidate(llm::GroupOp group, llm::SampleCandidateOp op, ProgramBuilder &b,
                                           tile::ProgramOp &result);
mlir::LogicalResult convertSampleMerge(llm::GroupOp group, llm::SampleMergeOp op, ProgramBuilder &b,
                                       tile::ProgramOp &result);
mlir::LogicalResult convertCollective(llm::GroupOp group, llm::CollectiveInterface op, ProgramBuilder &b,
                                      tile::ProgramOp &result);
/// How the ranks exchange the rows that `op` sums or gathers; null after a diagnostic.
tile::ExchangeAttr exchangeOf(llm::CollectiveInterface op, ProgramBuilder &b);
mlir::LogicalResult convertGatherColumns(llm::GroupOp group, llm::GatherColumnsOp op, ProgramBuilder &b,
                                         tile::ProgramOp &result);
mlir::LogicalResult convertSumOfSquares(llm::GroupOp group, llm::SumOfSquaresOp op, ProgramBuilder &b,
                                        tile::ProgramOp &result);
/// The program that applies repetition, presence and frequency penalties to logits in place.
tile::ProgramOp buildPenalties(mlir::Value logits, ProgramBuilder &b);

} // namespace inlay

#endif // INLAY_PASSES_LLM_TO_TILE_PROGRAMBUILDER_H
