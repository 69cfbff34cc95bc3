//===- PointEvaluator.cpp - any value of a tile program at one point -------===//

#include "passes/tile_to_cuda/PointEvaluator.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace inlay;

PointEvaluator::Key PointEvaluator::keyOf(Value value, ArrayRef<Value> point) {
  std::vector<const void *> place;
  for (Value index : point)
    place.push_back(index.getAsOpaquePointer());
  return {value.getAsOpaquePointer(), std::move(place)};
}

Value PointEvaluator::find(Value value, ArrayRef<Value> point) const {
  auto it = known.find(keyOf(value, point));
  return it == known.end() ? Value() : it->second;
}

Value PointEvaluator::at(Value value, ArrayRef<Value> point) {
  if (Value before = find(value, point))
    return before;
  Value result = source(value, point);
  if (!result) {
    Operation *op = value.getDefiningOp();
    if (!op) {
      emitError(value.getLoc()) << "a value that a loop carries has no scalar here";
      return {};
    }
    result = compute(op, value, point);
  }
  if (result)
    known[keyOf(value, point)] = result;
  return result;
}

Value PointEvaluator::compute(Operation *op, Value value, ArrayRef<Value> point) {
  Type element = getElementTypeOrSelf(value.getType());
  return llvm::TypeSwitch<Operation *, Value>(op)
      .Case([&](arith::ConstantOp constant) -> Value {
        auto elements = dyn_cast<DenseElementsAttr>(constant.getValue());
        if (!elements)
          return b.clone(*constant)->getResult(0);
        if (!elements.isSplat()) {
          constant.emitError("has different elements; expected a splat");
          return {};
        }
        return arith::ConstantOp::create(b, cast<TypedAttr>(elements.getSplatValue<Attribute>()));
      })
      .Case([&](tensor::SplatOp splat) { return at(splat.getInput()); })
      .Case([&](tile::IotaOp iota) -> Value {
        Value index = point[iota.getAxis()];
        if (std::optional<int64_t> constant = getConstantIntValue(index))
          return b.i32(*constant);
        return index.getType().isIndex() ? arith::IndexCastOp::create(b, b.getI32Type(), index).getResult() : index;
      })
      .Case([&](tile::BroadcastOp broadcast) { return at(broadcast.getValue(), point[broadcast.getAxis() == 0]); })
      .Case([&](tile::ProgramIdOp id) -> Value {
        static constexpr cuda::Special blocks[] = {cuda::Special::BlockX, cuda::Special::BlockY, cuda::Special::BlockZ};
        auto program = id->getParentOfType<tile::ProgramOp>();
        Value block = b.special(blocks[id.getDimension()]);
        return id.getDimension() == 0 ? b.div(block, tile::clusterOf(program)) : block;
      })
      .Case([&](tile::ClusterRankOp) { return b.special(cuda::Special::ClusterRank); })
      .Case([&](tile::ExtentOp extent) { return b.size(static_cast<int64_t>(extent.getWhich())); })
      .Case([&](tile::ReadOp read) -> Value {
        Value index = at(read.getOffsets().front());
        if (!index || read.getOffsets().size() != 1)
          return {};
        return b.load(views(read.getView()), index);
      })
      .Case([&](tile::GatherOp gather) -> Value {
        // Element 0 is always there, so that an index of nothing needs no branch.
        Value index = gather.getColumn() ? Value() : at(gather.getIndices(), point);
        if (!index) {
          gather.emitError("gathers rows where one element is evaluated");
          return {};
        }
        Value none = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, index, b.i32(0));
        Value loaded = b.load(views(gather.getView()), b.max(index, b.i32(0)));
        return b.select(none, arith::ConstantOp::create(b, cast<TypedAttr>(b.getZeroAttr(element))), loaded);
      })
      .Default([&](Operation *other) -> Value {
        bool isArithmetic = other->getNumRegions() == 0 && other->getNumResults() == 1 &&
                            isa<arith::ArithDialect, math::MathDialect>(other->getDialect());
        if (!isArithmetic) {
          other->emitError() << "'" << other->getName() << "' cannot be evaluated one element at a time";
          return {};
        }
        SmallVector<Value> operands;
        for (Value operand : other->getOperands()) {
          Value scalar = at(operand, isa<RankedTensorType>(operand.getType()) ? point : ArrayRef<Value>());
          if (!scalar)
            return {};
          operands.push_back(scalar);
        }
        // Hardware's 2^x is exact enough for weights that are rounded to 16 bits, and needs no care for denormals.
        if (isa<math::Exp2Op>(other))
          return b.call(element, "exp2_approximate", "base.h", operands);
        OperationState state(b.getLoc(), other->getName(), operands, {element}, other->getAttrs());
        return b.create(state)->getResult(0);
      });
}
