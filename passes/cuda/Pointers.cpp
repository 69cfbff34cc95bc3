//===- Pointers.cpp - what a pointer of a kernel points at -----------------===//

#include "passes/cuda/Pointers.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

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
