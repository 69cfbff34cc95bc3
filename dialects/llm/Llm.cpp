//===- Llm.cpp - verifiers and fusion roles of the llm dialect -------------===//

#include "dialects/llm/Llm.h"

#include "dialects/llm/Verify.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>

using namespace mlir;
using namespace inlay::llm;

#include "dialects/llm/LlmDialect.cpp.inc"
#include "dialects/llm/LlmEnums.cpp.inc"
#include "dialects/llm/LlmInterfaces.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/llm/LlmAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/llm/LlmTypes.cpp.inc"

void LlmDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/llm/LlmAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/llm/LlmTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/llm/LlmOps.cpp.inc"
      >();
}

StringRef inlay::llm::getCheckpointName(Operation *op) {
  if (auto name = dyn_cast<NameLoc>(op->getLoc()))
    return name.getName().getValue();
  return op->getName().stripDialect();
}

void YieldOp::build(OpBuilder &, OperationState &) {}

/// Checks that the columns of `value` are whole heads.
static LogicalResult verifyHeads(Operation *op, StringRef what, Value value, int64_t headDim) {
  if (headDim <= 0 || columns(value) % headDim != 0)
    return op->emitOpError() << "has " << columns(value) << " columns of " << what << ", not a multiple of head_dim "
                             << headDim;
  return success();
}

/// Checks that an op keeps the type of its input.
static LogicalResult verifySameType(Operation *op, Value input, Value result) {
  if (input.getType() != result.getType())
    return op->emitOpError() << "makes " << result.getType() << " of " << input.getType();
  return success();
}

/// Checks the bound of a soft-cap; none is valid.
static LogicalResult verifyCap(Operation *op, FloatAttr cap) {
  if (cap && !(cap.getValue().isFinite() && cap.getValueAsDouble() > 0))
    return op->emitOpError() << "has the soft-cap " << cap << ", expected a finite number above 0";
  return success();
}

/// The symbol of kind `T` that `op` names.
template <typename T>
static FailureOr<T> findSymbol(Operation *op, FlatSymbolRefAttr name, SymbolTableCollection &symbols) {
  auto found = symbols.lookupNearestSymbolFrom<T>(op, name);
  if (!found)
    return op->emitOpError() << "reads '" << name.getValue() << "', expected the name of an " << T::getOperationName();
  return found;
}

LogicalResult inlay::llm::verifyWeight(Operation *op, FlatSymbolRefAttr name, ArrayRef<int64_t> expected,
                                       SymbolTableCollection &symbols) {
  FailureOr<WeightOp> weight = findSymbol<WeightOp>(op, name, symbols);
  if (failed(weight))
    return failure();
  if (weight->getQuantized() && !isa<LinearOp>(op))
    return op->emitOpError() << "reads '" << name.getValue() << "', which is quantized; expected a weight of floats";
  ArrayRef<int64_t> found = weight->getTensorType().getShape();
  bool fits = found.size() == expected.size() && llvm::all_of(llvm::zip(found, expected), [](auto sizes) {
                return std::get<1>(sizes) < 0 || std::get<0>(sizes) == std::get<1>(sizes);
              });
  if (fits)
    return success();
  auto shapeOf = [](ArrayRef<int64_t> sizes) {
    return llvm::join(llvm::map_range(sizes, [](int64_t size) { return size < 0 ? "?" : std::to_string(size); }), "x");
  };
  return op->emitOpError() << "reads '" << name.getValue() << "' of shape " << shapeOf(found) << ", expected "
                           << shapeOf(expected);
}

LogicalResult EmbeddingOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyWeight(*this, getTableAttr(), {-1, columns(getResult())}, symbols);
}

LogicalResult LinearOp::verifySymbolUses(SymbolTableCollection &symbols) {
  int64_t rows = 0;
  for (Value output : getOutputs())
    rows += columns(output);
  if (failed(verifyWeight(*this, getWeightAttr(), {rows, columns(getInput())}, symbols)))
    return failure();
  if (getScales() && failed(verifyCodesOfWeight(*this, symbols)))
    return failure();
  if (getLibrary()) {
    auto weight = symbols.lookupNearestSymbolFrom<WeightOp>(*this, getWeightAttr());
    if (weight.getRowOrder() != RowOrder::Plain || weight.getPacking() != Packing::RowMajor)
      return emitOpError() << "is for the library '" << *getLibrary() << "', which reads a weight that is plain and "
                           << "row_major; '" << getWeight() << "' is stored otherwise";
  }
  return getBias() ? verifyWeight(*this, getBiasAttr(), {rows}, symbols) : success();
}

/// Checks that `name`, the weight or the bias of a norm, has an element for each column or for each column of a group.
static LogicalResult verifyNormVector(NormInterface norm, FlatSymbolRefAttr name, SymbolTableCollection &symbols) {
  if (!name)
    return success();
  FailureOr<WeightOp> weight = findSymbol<WeightOp>(norm, name, symbols);
  if (failed(weight))
    return failure();
  int64_t elements = weight->getTensorType().getNumElements();
  if (norm.getGroup() && elements == norm.getColumns())
    return success();
  return verifyWeight(norm, name, {norm.getSize()}, symbols);
}

LogicalResult PositionEmbeddingOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (failed(verifyWeight(*this, getTableAttr(), {-1, columns(getResult())}, symbols)))
    return failure();
  int64_t rows = symbols.lookupNearestSymbolFrom<WeightOp>(*this, getTableAttr()).getTensorType().getDimSize(0);
  if (static_cast<int64_t>(getOffset()) >= rows)
    return emitOpError() << "begins at row " << getOffset() << " of '" << getTable() << "', which has " << rows;
  return success();
}

LogicalResult RmsNormOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyNormVector(*this, getWeightAttr(), symbols);
}

LogicalResult LayerNormOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (failed(verifyNormVector(*this, getWeightAttr(), symbols)))
    return failure();
  return verifyNormVector(*this, getBiasAttr(), symbols);
}

LogicalResult RopeOp::verifySymbolUses(SymbolTableCollection &symbols) {
  FailureOr<RopeTableOp> table = findSymbol<RopeTableOp>(*this, getTableAttr(), symbols);
  if (failed(table))
    return failure();
  if (int64_t size = cast<RankedTensorType>(table->getType()).getDimSize(1); size > static_cast<int64_t>(getHeadDim()))
    return emitOpError() << "rotates heads of " << getHeadDim() << " by '" << getTable() << "', which is for heads of "
                         << size;
  return success();
}

RopeTableOp RopeOp::getTableOp() { return SymbolTable::lookupNearestSymbolFrom<RopeTableOp>(*this, getTableAttr()); }

int64_t RopeOp::getRotaryDim() { return cast<RankedTensorType>(getTableOp().getType()).getDimSize(1); }

/// Checks that `name` has an f32 for each row and group of `op`, stored in the order of its rows.
static LogicalResult verifyGroups(WeightOp op, FlatSymbolRefAttr name, SymbolTableCollection &symbols) {
  int64_t columns = op.getTensorType().getDimSize(1), group = op.getQuantizedAttr().getGroup();
  int64_t rows = op.getTensorType().getDimSize(0), groups = llvm::divideCeil(columns, group);
  if (failed(verifyWeight(op, name, {rows, groups}, symbols)))
    return failure();
  auto found = symbols.lookupNearestSymbolFrom<WeightOp>(op, name);
  if (!found.getTensorType().getElementType().isF32())
    return op.emitOpError() << "reads '" << name.getValue() << "' of " << found.getTensorType() << ", expected f32";
  if (found.getRowOrder() != op.getRowOrder() || found.getHeadDim() != op.getHeadDim())
    return op.emitOpError() << "is stored in another row order than '" << name.getValue() << "'";
  return success();
}

LogicalResult AddBiasOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyWeight(*this, getBiasAttr(), {columns(getInput())}, symbols);
}

LogicalResult ScaleColumnsOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyWeight(*this, getWeightAttr(), {columns(getInput())}, symbols);
}

LogicalResult GatherColumnsOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (failed(verifyWeight(*this, getOrderAttr(), {1, columns(getInput())}, symbols)))
    return failure();
  auto order = symbols.lookupNearestSymbolFrom<WeightOp>(*this, getOrderAttr());
  if (!order.getTensorType().getElementType().isInteger(32))
    return emitOpError() << "reads '" << getOrder() << "' of " << order.getTensorType() << ", expected i32";
  return success();
}

LogicalResult RmsScaleOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return getWeight() ? verifyWeight(*this, getWeightAttr(), {columns(getInput())}, symbols) : success();
}

/// Checks that the ranks of the module can have the parts of the sources of `op`.
static LogicalResult verifyShards(WeightOp op) {
  int64_t ranks = getRanks(op);
  for (Attribute attribute : op.getSourcesAttr()) {
    ShardAttr shard = SourceAttr::of(attribute).getShard();
    if (shard && ranks % shard.getParts() != 0)
      return op.emitOpError() << "has a source of " << shard.getParts() << " parts on " << ranks
                              << " ranks, expected a divisor";
    if (shard && shard.getAxis() == Axis::Columns && op.getTensorType().getRank() == 1)
      return op.emitOpError() << "divides columns, but is a vector: " << op.getTensorType();
  }
  return success();
}

LogicalResult WeightOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (getSources() && failed(verifyShards(*this)))
    return failure();
  QuantizedAttr quantized = getQuantizedAttr();
  if (!quantized)
    return success();
  if (failed(verifyGroups(*this, quantized.getScales(), symbols)) ||
      failed(verifyRowScale(*this, quantized.getActivationScale(), symbols)))
    return failure();
  return quantized.getZeroPoints() ? verifyGroups(*this, quantized.getZeroPoints(), symbols) : success();
}

/// Checks the scales that an op names for keys and values of a cache of codes: an f32 for each kv head.
template <typename Op> static LogicalResult verifyCacheScales(Op op, int64_t kvHeads, SymbolTableCollection &symbols) {
  for (FlatSymbolRefAttr name : {op.getKeyScaleAttr(), op.getValueScaleAttr()}) {
    if (!name)
      continue;
    KvCacheType cache = op.getCache().getType();
    if (!cache.getCodes())
      return op.emitOpError() << "has the scale '" << name.getValue() << "' of a cache that stores keys and values as "
                              << "they are, " << cache;
    if (failed(verifyWeight(op, name, {kvHeads}, symbols)))
      return failure();
    auto scale = symbols.lookupNearestSymbolFrom<WeightOp>(op, name);
    if (!scale.getTensorType().getElementType().isF32())
      return op.emitOpError() << "reads '" << name.getValue() << "' of " << scale.getTensorType() << ", expected f32";
  }
  return success();
}

LogicalResult KvAppendOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyCacheScales(*this, columns(getKey()) / static_cast<int64_t>(getHeadDim()), symbols);
}

LogicalResult PagedAttentionOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (int64_t all = static_cast<int64_t>(getHeads()) * getRanks(*this);
      getAlibi() && static_cast<int64_t>(getAlibi()->size()) != all)
    return emitOpError() << "has " << getAlibi()->size() << " slopes of ALiBi for " << all << " heads";
  if (getSinks() && failed(verifyWeight(*this, getSinksAttr(), {static_cast<int64_t>(getHeads())}, symbols)))
    return failure();
  return verifyCacheScales(*this, static_cast<int64_t>(getKvHeads()), symbols);
}

LogicalResult KvCacheType::verify(function_ref<InFlightDiagnostic()> emitError, Type codes) {
  if (codes && !isa<Float8E4M3FNType>(codes))
    return emitError() << "a cache stores keys and values as " << codes << ", expected f8E4M3FN";
  return success();
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

Attribute SourceAttr::parse(AsmParser &parser, Type) {
  StringAttr name;
  bool transposed = false;
  int64_t block = 0, offset = 0, count = 0, headDim = 0, rotaryDim = 0;
  StorageAttr storage;
  ShardAttr shard;
  if (parser.parseLess() || parser.parseAttribute(name))
    return {};
  std::pair<StringRef, int64_t *> numbers[] = {{"block", &block}, {"offset", &offset}, {"count", &count}};
  while (succeeded(parser.parseOptionalComma())) {
    SMLoc loc = parser.getCurrentLocation();
    StringRef key;
    if (parser.parseKeyword(&key))
      return {};
    if (key == "transposed") {
      transposed = true;
      continue;
    }
    auto *number = llvm::find_if(numbers, [&](auto &entry) { return entry.first == key; });
    if (number == std::end(numbers) && key != "deinterleave" && key != "storage" && key != "shard")
      return parser.emitError(loc) << "'" << key << "' is no part of a source; expected transposed, block, offset, "
                                   << "count, deinterleave, storage or shard",
             Attribute();
    if (parser.parseEqual())
      return {};
    if (key == "storage") {
      if (parser.parseAttribute(storage))
        return {};
    } else if (key == "shard") {
      if (parser.parseAttribute(shard))
        return {};
    } else if (key != "deinterleave") {
      if (parser.parseInteger(*number->second))
        return {};
    } else if (parser.parseLSquare() || parser.parseInteger(headDim) || parser.parseComma() ||
               parser.parseInteger(rotaryDim) || parser.parseRSquare()) {
      return {};
    }
  }
  if (parser.parseGreater())
    return {};
  return parser.getChecked<SourceAttr>(parser.getContext(), name, transposed, block, offset, count, headDim, rotaryDim,
                                       storage, shard);
}

void SourceAttr::print(AsmPrinter &printer) const {
  printer << "<" << getName();
  if (getTransposed())
    printer << ", transposed";
  if (getBlock())
    printer << ", block = " << getBlock() << ", offset = " << getOffset() << ", count = " << getCount();
  if (getHeadDim())
    printer << ", deinterleave = [" << getHeadDim() << ", " << getRotaryDim() << "]";
  if (getStorage())
    printer << ", storage = " << getStorage();
  if (getShard())
    printer << ", shard = " << getShard();
  printer << ">";
}

LogicalResult SourceAttr::verify(function_ref<InFlightDiagnostic()> emitError, StringAttr name, bool, int64_t block,
                                 int64_t offset, int64_t count, int64_t headDim, int64_t rotaryDim, StorageAttr,
                                 ShardAttr) {
  if (name.empty())
    return emitError() << "a source has the name of a tensor, found \"\"";
  if (block == 0 ? offset != 0 || count != 0 : offset < 0 || count < 1 || block - offset < count)
    return emitError() << "source '" << name.getValue() << "' takes " << count << " rows from " << offset
                       << " on of each " << block << ", expected rows that lie in a block";
  if (headDim == 0 ? rotaryDim != 0 : rotaryDim < 2 || rotaryDim % 2 != 0 || rotaryDim > headDim)
    return emitError() << "source '" << name.getValue() << "' deinterleaves " << rotaryDim << " rows of heads of "
                       << headDim << ", expected an even number of rows that a head has";
  return success();
}

SourceAttr SourceAttr::of(Attribute source) {
  if (auto name = dyn_cast<StringAttr>(source))
    return SourceAttr::get(source.getContext(), name.getValue());
  return cast<SourceAttr>(source);
}

std::optional<int64_t> SourceAttr::getRows(int64_t tensorRows) const {
  if (getBlock() && tensorRows % getBlock() != 0)
    return std::nullopt;
  int64_t rows = getBlock() ? tensorRows / getBlock() * getCount() : tensorRows;
  if (getHeadDim() && rows % getHeadDim() != 0)
    return std::nullopt;
  return rows;
}

int64_t SourceAttr::getTensorRow(int64_t row) const {
  if (getHeadDim())
    if (int64_t i = row % getHeadDim(), half = getRotaryDim() / 2; i < getRotaryDim())
      row += 2 * (i % half) + i / half - i;
  return getBlock() ? row / getCount() * getBlock() + getOffset() + row % getCount() : row;
}

/// Checks that the elements of a quantized weight are those of its codes.
static LogicalResult verifyCodes(WeightOp op, Codes codes) {
  Builder builder(op.getContext());
  Type expected = builder.getI8Type();
  if (codes == Codes::U4 || codes == Codes::Nf4)
    expected = builder.getIntegerType(4);
  else if (codes == Codes::F8E4M3)
    expected = Float8E4M3FNType::get(op.getContext());
  RankedTensorType type = op.getTensorType();
  if (type.getRank() != 2 || type.getElementType() != expected)
    return op.emitOpError() << "has codes " << stringifyCodes(codes) << ", which are a matrix of " << expected
                            << ", found " << type;
  return success();
}

LogicalResult WeightOp::verify() {
  auto type = dyn_cast<RankedTensorType>(getType());
  if (!type || !type.hasStaticShape() || type.getRank() < 1 || type.getRank() > 2)
    return emitOpError() << "is a tensor of static shape and rank 1 or 2, found " << getType();
  if (static_cast<bool>(getSources()) == static_cast<bool>(getValue()))
    return emitOpError() << "has either sources or a value";
  if (getValue() && getValue()->getShapedType() != type)
    return emitOpError() << "is declared " << type << " but holds " << getValue()->getShapedType();
  if (ArrayAttr sources = getSourcesAttr(); sources && type.getRank() == 1)
    for (Attribute source : sources)
      if (SourceAttr::of(source).getTransposed())
        return emitOpError() << "transposes '" << SourceAttr::of(source).getName().getValue()
                             << "', but is a vector: " << type;
  if (QuantizedAttr quantized = getQuantizedAttr(); quantized && failed(verifyCodes(*this, quantized.getCodes())))
    return failure();
  if (getRowOrder() == RowOrder::HalfPairs && !getHeadDim())
    return emitOpError() << "stores rows as half_pairs, which needs head_dim";
  if (getRowOrder() == RowOrder::Alternate && getSources() && getSources()->size() != 2)
    return emitOpError() << "alternates the rows of two sources, found " << getSources()->size();
  return success();
}

LogicalResult RopeTableOp::verify() {
  auto type = dyn_cast<RankedTensorType>(getType());
  int64_t frequencies = getInvFreq().size();
  if (!type || !type.hasStaticShape() || type.getRank() != 2 || !type.getElementType().isF32() ||
      type.getDimSize(1) < 2 || type.getDimSize(1) % 2 != 0)
    return emitOpError() << "holds f32 rows of " << 2 * frequencies << " cosines and sines, found " << getType();
  int64_t half = type.getDimSize(1) / 2, sets = frequencies / half;
  if (sets == 0 || frequencies % half != 0 || sets > type.getDimSize(0))
    return emitOpError() << "holds f32 rows of " << 2 * frequencies << " cosines and sines, found " << getType();
  auto shortRows = static_cast<int64_t>(getShortRows());
  if (shortRows < 0 || shortRows >= type.getDimSize(0))
    return emitOpError() << "has " << shortRows << " rows for short sequences, expected fewer than its "
                         << type.getDimSize(0) << " rows";
  if (shortRows > 0 && sets != 2)
    return emitOpError() << "has rows for short and for long sequences, which use 2 sets of frequencies, found "
                         << sets;
  if (!getTemperatureBeta().isFinite() || static_cast<int64_t>(getTemperatureLength()) < 1)
    return emitOpError() << "has the temperature " << getTemperatureBetaAttr() << " for each "
                         << static_cast<int64_t>(getTemperatureLength())
                         << " positions, expected a finite number and at least 1 position";
  return success();
}

int64_t RopeTableOp::getPositionOf(int64_t row) {
  auto shortRows = static_cast<int64_t>(getShortRows());
  return row < shortRows ? row : row - shortRows;
}

ArrayRef<double> RopeTableOp::getFrequenciesOf(int64_t row) {
  auto type = cast<RankedTensorType>(getType());
  int64_t half = type.getDimSize(1) / 2, sets = static_cast<int64_t>(getInvFreq().size()) / half;
  int64_t set = hasTwoParts() ? row >= static_cast<int64_t>(getShortRows())
                              : std::max<int64_t>(0, row - (type.getDimSize(0) - sets));
  return getInvFreq().slice(set * half, half);
}

double RopeTableOp::getFactorOf(int64_t row) {
  int64_t steps = getPositionOf(row) / static_cast<int64_t>(getTemperatureLength());
  return getAttentionFactor().convertToDouble() *
         (1 + getTemperatureBeta().convertToDouble() * std::log1p(static_cast<double>(steps)));
}

LogicalResult LinearOp::verify() {
  if (getOutputs().empty())
    return emitOpError() << "has no result";
  if (getLibrary() && *getLibrary() != kCublasLt)
    return emitOpError() << "is for the library '" << *getLibrary() << "', expected " << kCublasLt;
  if (getLibrary() && (getOutputs().size() != 1 || getBias()))
    return emitOpError() << "is for the library '" << *getLibrary() << "', which writes one result without a bias";
  if (getSquares() ? getLibrary() || getScales() || !getEps() : getEps().has_value())
    return emitOpError() << "has sums of squares or an eps, expected both, no scales and no library";
  if (getSquares() && failed(verifySquares(*this, getInput(), getSquares())))
    return failure();
  return verifyInput(*this);
}

LogicalResult PositionEmbeddingOp::verify() {
  if (static_cast<int64_t>(getOffset()) < 0)
    return emitOpError() << "has the offset " << static_cast<int64_t>(getOffset()) << ", expected at least 0";
  return success();
}

static LogicalResult verifyNorm(NormInterface norm) {
  if (failed(verifySameType(norm, norm.getInput(), norm->getResult(0))))
    return failure();
  if (norm.getGroup() && failed(verifyHeads(norm, "input", norm.getInput(), *norm.getGroup())))
    return failure();
  if (!norm.getWeightAttr() && !norm.getWeightOffset().isZero())
    return norm->emitOpError() << "has a weight_offset without a weight; use '" << ScaleOp::getOperationName()
                               << "' for a constant factor";
  return success();
}
LogicalResult RmsNormOp::verify() { return verifyNorm(*this); }
LogicalResult LayerNormOp::verify() { return verifyNorm(*this); }

LogicalResult ScaleOp::verify() {
  if (!getFactor().isFinite())
    return emitOpError() << "has the factor " << getFactorAttr() << ", expected a finite number";
  return success();
}

LogicalResult SoftcapOp::verify() { return verifyCap(*this, getCapAttr()); }

LogicalResult RopeOp::verify() {
  if (failed(verifySameType(*this, getInput(), getResult())))
    return failure();
  if (getHeadDim() % 2 != 0)
    return emitOpError() << "rotates halves of a head, head_dim " << getHeadDim() << " is odd";
  return verifyHeads(*this, "input", getInput(), getHeadDim());
}

LogicalResult GatherRowsOp::verify() { return verifySameType(*this, getInput(), getResult()); }

LogicalResult GroupOp::verify() {
  Operation *yield = getBody().front().getTerminator();
  if (yield->getOperandTypes() != getResultTypes())
    return emitOpError() << "has results (" << getResultTypes() << ") but yields (" << yield->getOperandTypes() << ")";
  return success();
}

LogicalResult KvAppendOp::verify() {
  if (columns(getKey()) != columns(getValue()))
    return emitOpError() << "has keys of " << columns(getKey()) << " columns and values of " << columns(getValue());
  if (getResult().getType() != getCache().getType())
    return emitOpError() << "makes " << getResult().getType() << " of " << getCache().getType();
  return verifyHeads(*this, "keys", getKey(), getHeadDim());
}

LogicalResult PagedAttentionOp::verify() {
  if (getHeads() == 0 || getKvHeads() == 0 || getHeads() % getKvHeads() != 0)
    return emitOpError() << "shares " << getKvHeads() << " kv heads among " << getHeads()
                         << " query heads, not a multiple";
  if (failed(verifySameType(*this, getQuery(), getResult())))
    return failure();
  if (columns(getQuery()) != static_cast<int64_t>(getHeads() * getHeadDim()))
    return emitOpError() << "has queries of " << columns(getQuery()) << " columns for " << getHeads() << " heads of "
                         << getHeadDim();
  if (getWindow() && static_cast<int64_t>(*getWindow()) < 1)
    return emitOpError() << "has a window of " << static_cast<int64_t>(*getWindow())
                         << " positions, expected at least 1";
  if (getAlibi() && !llvm::all_of(*getAlibi(), [](double slope) { return std::isfinite(slope); }))
    return emitOpError() << "has the slopes " << getAlibiAttr() << " of ALiBi, expected finite numbers";
  return verifyCap(*this, getSoftcapAttr());
}

//===----------------------------------------------------------------------===//
// Fusion
//===----------------------------------------------------------------------===//

/// Bytes of the weight that `name` names.
static int64_t weightBytes(Operation *op, FlatSymbolRefAttr name) {
  auto weight = name ? SymbolTable::lookupNearestSymbolFrom<WeightOp>(op, name) : WeightOp();
  if (!weight)
    return 0;
  RankedTensorType type = weight.getTensorType();
  int64_t bytes = type.getNumElements() * type.getElementTypeBitWidth() / 8;
  if (QuantizedAttr quantized = weight.getQuantizedAttr())
    bytes += weightBytes(op, quantized.getScales()) + weightBytes(op, quantized.getZeroPoints());
  return bytes;
}

int64_t EmbeddingOp::getWeightBytes(int64_t rows) {
  auto type = cast<RankedTensorType>(getResult().getType());
  return rows * type.getDimSize(1) * type.getElementTypeBitWidth() / 8;
}
int64_t LinearOp::getWeightBytes(int64_t) {
  return weightBytes(*this, getWeightAttr()) + weightBytes(*this, getBiasAttr());
}
int64_t PositionEmbeddingOp::getWeightBytes(int64_t rows) {
  auto type = cast<RankedTensorType>(getResult().getType());
  return rows * type.getDimSize(1) * type.getElementTypeBitWidth() / 8;
}
int64_t RmsNormOp::getWeightBytes(int64_t) { return weightBytes(*this, getWeightAttr()); }
int64_t LayerNormOp::getWeightBytes(int64_t) {
  return weightBytes(*this, getWeightAttr()) + weightBytes(*this, getBiasAttr());
}
int64_t AddBiasOp::getWeightBytes(int64_t) { return weightBytes(*this, getBiasAttr()); }
int64_t ScaleColumnsOp::getWeightBytes(int64_t) { return weightBytes(*this, getWeightAttr()); }
int64_t GatherColumnsOp::getWeightBytes(int64_t) { return weightBytes(*this, getOrderAttr()); }
int64_t RmsScaleOp::getWeightBytes(int64_t) { return weightBytes(*this, getWeightAttr()); }
int64_t KvAppendOp::getWeightBytes(int64_t) {
  return weightBytes(*this, getKeyScaleAttr()) + weightBytes(*this, getValueScaleAttr());
}
int64_t PagedAttentionOp::getWeightBytes(int64_t) {
  return weightBytes(*this, getSinksAttr()) + weightBytes(*this, getKeyScaleAttr()) +
         weightBytes(*this, getValueScaleAttr());
}

bool LinearOp::isAnchor() { return true; }
bool PagedAttentionOp::isAnchor() { return true; }

// A whole-row norm: its weight scales what is staged, its 1/rms the rows of the product.
bool RmsNormOp::canBePrologueOf(Operation *anchor) { return isa<LinearOp>(anchor) && !getGroup(); }
int64_t RmsNormOp::getStagedVectors() { return getGroup() || !getWeightAttr() ? 0 : 1; }
// Statistics of the whole row come first, then weight and bias are applied to what is staged.
bool LayerNormOp::canBePrologueOf(Operation *anchor) { return isa<LinearOp>(anchor) && !getGroup(); }
int64_t LayerNormOp::getStagedVectors() { return getGroup() ? 0 : !!getWeightAttr() + !!getBiasAttr(); }
bool GatherRowsOp::canBePrologueOf(Operation *anchor) { return isa<LinearOp>(anchor); }

/// True for a product whose tiles an elementwise op can change before they are stored: of one result, or of two whose
/// columns alternate.
static bool takesElementwise(Operation *anchor) {
  auto linear = dyn_cast<LinearOp>(anchor);
  if (!linear || linear.getNumResults() == 1)
    return static_cast<bool>(linear);
  auto weight = SymbolTable::lookupNearestSymbolFrom<WeightOp>(linear, linear.getWeightAttr());
  return weight && weight.getRowOrder() == RowOrder::Alternate;
}
bool ActivationOp::canBeEpilogueOf(Operation *anchor) { return takesElementwise(anchor); }
bool AddOp::canBeEpilogueOf(Operation *anchor) { return takesElementwise(anchor); }
bool GatedActivationOp::canBeEpilogueOf(Operation *anchor) { return takesElementwise(anchor); }
bool ScaleColumnsOp::canBeEpilogueOf(Operation *anchor) { return takesElementwise(anchor); }
bool ScaleOp::canBeEpilogueOf(Operation *anchor) { return takesElementwise(anchor); }
bool SoftcapOp::canBeEpilogueOf(Operation *anchor) { return takesElementwise(anchor); }
// A part of the columns is summed in a tile of the product.
bool SumOfSquaresOp::canBeEpilogueOf(Operation *anchor) {
  return normPartOf(*this) == kNormPart && takesElementwise(anchor);
}
int64_t inlay::llm::normPartOf(SumOfSquaresOp op) { return columns(op.getInput()) / columns(op.getResult()); }

/// True for a product whose columns come as the pairs that rope rotates.
static bool hasPairs(Operation *anchor) {
  auto linear = dyn_cast<LinearOp>(anchor);
  auto weight = linear ? SymbolTable::lookupNearestSymbolFrom<WeightOp>(linear, linear.getWeightAttr()) : WeightOp();
  return weight && weight.getRowOrder() == RowOrder::HalfPairs;
}
bool RopeOp::canBeEpilogueOf(Operation *anchor) {
  return hasPairs(anchor) && getRotaryDim() == static_cast<int64_t>(getHeadDim());
}
bool KvAppendOp::canBeEpilogueOf(Operation *anchor) { return hasPairs(anchor); }

#define GET_OP_CLASSES
#include "dialects/llm/LlmOps.cpp.inc"
