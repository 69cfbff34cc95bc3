//===- Pointers.cpp - what a pointer of a kernel points to -----------------===//

#include "passes/cuda/Pointers.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace inlay;

Value inlay::baseOf(Value pointer) {
  while (Operation *op = pointer.getDefiningOp()) {
    if (auto offset = dyn_cast<cuda::OffsetOp>(op))
      pointer = offset.getBase();
    else if (auto cast = dyn_cast<cuda::CastOp>(op))
      pointer = cast.getBase();
    else if (auto address = dyn_cast<cuda::AddressOp>(op))
      pointer = address.getVariable();
    else
      break;
  }
  return pointer;
}

std::optional<cuda::Provenance> inlay::provenanceOf(Operation *op, Value operand) {
  Value base = baseOf(operand);
  auto pointer = dyn_cast<cuda::PtrType>(base.getType());
  bool isMap = isa<cuda::OpaqueType>(base.getType());
  if (!isMap && (!pointer || pointer.getSpace() > cuda::Space::Readonly))
    return std::nullopt;
  if (auto said = op->getAttrOfType<cuda::ProvenanceAttr>(cuda::kProvenanceAttr))
    return said.getValue();
  if (auto argument = dyn_cast<BlockArgument>(base))
    if (auto kernel = dyn_cast<cuda::KernelOp>(argument.getOwner()->getParentOp()))
      if (auto said = kernel.getArgAttrOfType<cuda::ProvenanceAttr>(argument.getArgNumber(), cuda::kProvenanceAttr))
        return said.getValue();
  if (pointer && pointer.getSpace() == cuda::Space::Readonly)
    return cuda::Provenance::Weight;
  return std::nullopt;
}

SmallVector<Value> inlay::indicesOf(Value pointer) {
  SmallVector<Value> indices;
  while (Operation *op = pointer.getDefiningOp()) {
    if (auto offset = dyn_cast<cuda::OffsetOp>(op)) {
      indices.push_back(offset.getIndex());
      pointer = offset.getBase();
    } else if (auto cast = dyn_cast<cuda::CastOp>(op)) {
      pointer = cast.getBase();
    } else {
      break;
    }
  }
  return indices;
}

bool inlay::describesOperand(cuda::CallOp call) {
  return call.getCallee() == "swizzled_tile" || call.getCallee() == "swizzled_columns";
}

Value inlay::pointerOfDescriptor(Value descriptor) {
  while (auto sum = descriptor.getDefiningOp<arith::AddIOp>())
    descriptor = sum.getLhs();
  auto call = descriptor.getDefiningOp<cuda::CallOp>();
  return call && describesOperand(call) ? call.getInputs().front() : Value();
}

SmallVector<Value> inlay::partsOf(Value pointer, Value index) {
  SmallVector<Value> next = indicesOf(pointer), parts;
  if (index)
    next.push_back(index);
  llvm::SmallDenseSet<Value> seen;
  while (!next.empty()) {
    Value part = next.pop_back_val();
    if (!seen.insert(part).second)
      continue;
    parts.push_back(part);
    if (Operation *source = part.getDefiningOp())
      for (Value operand : source->getOperands())
        if (operand.getType().isIntOrIndex())
          next.push_back(operand);
  }
  return parts;
}

bool inlay::areEqual(Value x, Value y) {
  if (x == y)
    return true;
  std::optional<int64_t> left = getConstantIntValue(x), right = getConstantIntValue(y);
  if (left || right)
    return left == right;
  Operation *one = x.getDefiningOp(), *other = y.getDefiningOp();
  return one && other && isa<arith::ArithDialect>(one->getDialect()) && one->getName() == other->getName() &&
         one->getAttrs() == other->getAttrs() && one->getNumOperands() == other->getNumOperands() &&
         llvm::all_of(llvm::zip(one->getOperands(), other->getOperands()),
                      [](auto pair) { return areEqual(std::get<0>(pair), std::get<1>(pair)); });
}

std::string inlay::nameOfMemory(Value base) {
  if (auto argument = dyn_cast<BlockArgument>(base))
    if (auto kernel = dyn_cast<cuda::KernelOp>(argument.getOwner()->getParentOp()))
      if (auto name = kernel.getArgAttrOfType<StringAttr>(argument.getArgNumber(), cuda::kNameAttr))
        return name.getValue().str();
  Operation *op = base.getDefiningOp();
  if (!op)
    return "memory";
  if (auto name = op->getLoc()->findInstanceOf<NameLoc>())
    return name.getName().str();
  if (auto shared = dyn_cast<cuda::SharedOp>(op))
    return "the shared memory at " + std::to_string(shared.getOffset());
  return isa<cuda::LocalOp>(op) ? "a variable" : "memory";
}
