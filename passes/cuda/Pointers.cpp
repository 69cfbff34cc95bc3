//===- Pointers.cpp - what a pointer of a kernel points at -----------------===//

#include "passes/cuda/Pointers.h"

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
