//===- Llm.cpp - verifiers and fusion roles of the llm dialect -------------===//

#include "dialects/llm/Llm.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

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

void YieldOp::build(OpBuilder &, OperationState &) {}

/// Columns of a rows value.
static int64_t columns(Value value) { return cast<RankedTensorType>(value.getType()).getDimSize(1); }

/// Checks that the columns of `value` are whole heads.
static LogicalResult verifyHeads(Operation *op, StringRef what, Value value, int64_t headDim) {
  if (headDim <= 0 || columns(value) % headDim != 0)
    return op->emitOpError() << "has " << columns(value) << " columns of " << what << ", not a multiple of head_dim "
                             << headDim;
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
  if (getRowOrder() == RowOrder::HalfPairs && !getHeadDim())
    return emitOpError() << "stores rows as half_pairs, which needs head_dim";
  if (getRowOrder() == RowOrder::Alternate && getSources() && getSources()->size() != 2)
    return emitOpError() << "alternates the rows of two sources, found " << getSources()->size();
  return success();
}

LogicalResult RopeTableOp::verify() {
  auto type = dyn_cast<RankedTensorType>(getType());
  if (!type || !type.hasStaticShape() || type.getRank() != 2 || !type.getElementType().isF32() ||
      type.getDimSize(1) != static_cast<int64_t>(2 * getInvFreq().size()))
    return emitOpError() << "holds f32 rows of " << 2 * getInvFreq().size() << " cosines and sines, found "
                         << getType();
  return success();
}

LogicalResult LinearOp::verify() {
  if (getOutputs().empty())
    return emitOpError() << "has no result";
  return success();
}

LogicalResult RmsNormOp::verify() {
  if (getGroup())
    return verifyHeads(*this, "input", getInput(), *getGroup());
  return success();
}

LogicalResult RopeOp::verify() {
  if (getHeadDim() % 2 != 0)
    return emitOpError() << "rotates halves of a head, head_dim " << getHeadDim() << " is odd";
  return verifyHeads(*this, "input", getInput(), getHeadDim());
}

LogicalResult KvAppendOp::verify() {
  if (columns(getKey()) != columns(getValue()))
    return emitOpError() << "has keys of " << columns(getKey()) << " columns and values of " << columns(getValue());
  return verifyHeads(*this, "keys", getKey(), getHeadDim());
}

LogicalResult PagedAttentionOp::verify() {
  if (getHeads() == 0 || getKvHeads() == 0 || getHeads() % getKvHeads() != 0)
    return emitOpError() << "shares " << getKvHeads() << " kv heads among " << getHeads()
                         << " query heads, not a multiple";
  if (columns(getQuery()) != static_cast<int64_t>(getHeads() * getHeadDim()))
    return emitOpError() << "has queries of " << columns(getQuery()) << " columns for " << getHeads() << " heads of "
                         << getHeadDim();
  return success();
}

//===----------------------------------------------------------------------===//
// Fusion
//===----------------------------------------------------------------------===//

bool LinearOp::isAnchor() { return true; }
bool PagedAttentionOp::isAnchor() { return true; }

// A whole-row norm: its weight scales what is staged, its 1/rms the rows of the product.
bool RmsNormOp::canBePrologueOf(Operation *anchor) { return isa<LinearOp>(anchor) && !getGroup(); }
bool GatherRowsOp::canBePrologueOf(Operation *anchor) { return isa<LinearOp>(anchor); }

// These need only the columns that a tile of the product has.
bool AddOp::canBeEpilogueOf(Operation *anchor) { return isa<LinearOp>(anchor); }
bool GatedActivationOp::canBeEpilogueOf(Operation *anchor) { return isa<LinearOp>(anchor); }

/// True for a product whose columns come as the pairs that rope rotates.
static bool hasPairs(Operation *anchor) {
  auto linear = dyn_cast<LinearOp>(anchor);
  auto weight = linear ? SymbolTable::lookupNearestSymbolFrom<WeightOp>(linear, linear.getWeightAttr()) : WeightOp();
  return weight && weight.getRowOrder() == RowOrder::HalfPairs;
}
bool RopeOp::canBeEpilogueOf(Operation *anchor) { return hasPairs(anchor); }
bool KvAppendOp::canBeEpilogueOf(Operation *anchor) { return hasPairs(anchor); }

#define GET_OP_CLASSES
#include "dialects/llm/LlmOps.cpp.inc"
