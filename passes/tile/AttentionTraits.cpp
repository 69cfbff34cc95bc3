//===- AttentionTraits.cpp - what decides which family runs an attention ---===//

#include "passes/tile/AttentionTraits.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace inlay;

/// Rows come from positions modulo the size of a page.
static int64_t pageSizeOf(Value rows) {
  Operation *op = rows.getDefiningOp();
  if (!op)
    return 0;
  if (auto remainder = dyn_cast<arith::RemSIOp>(op)) {
    SplatElementsAttr size;
    return matchPattern(remainder.getRhs(), m_Constant(&size)) ? size.getSplatValue<APInt>().getSExtValue() : 0;
  }
  if (isa<arith::ArithDialect>(op->getDialect()))
    for (Value operand : op->getOperands())
      if (int64_t size = pageSizeOf(operand))
        return size;
  return 0;
}

int64_t inlay::pageSizeOf(const AttentionLoop &loop) {
  tile::GatherOp keys = loop.keys;
  return ::pageSizeOf(keys.getIndices());
}

AttentionTraits inlay::traitsOf(const AttentionLoop &loop) {
  auto bitsOf = [](tile::GatherOp gather) {
    return gather.getView().getType().getElementType().getIntOrFloatBitWidth();
  };
  AttentionTraits traits;
  traits.headDim = loop.headDim;
  traits.elementBits = bitsOf(loop.keys);
  traits.queryBits = bitsOf(loop.queries);
  traits.pageSize = pageSizeOf(loop);
  return traits;
}
