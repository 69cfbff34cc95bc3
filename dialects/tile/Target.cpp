//===- Target.cpp - what passes know of a chip -----------------------------===//

#include "dialects/tile/Tile.h"

#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace inlay::tile;

int64_t TargetAttr::slotSharedBytes(int64_t slots) const {
  return std::min(getSharedBytes() / slots - getReservedSharedBytes(), getBlockSharedBytes());
}

/// A cluster stays within one of the chip's parts, whose numbers of multiprocessors differ. An H200 has room for 132
/// clusters of 2, 79 of 3, 62 of 4 and 30 of 8 in its 264 slots (cuOccupancyMaxActiveClusters), others for fewer; what
/// does not fit waits for a second round.
int64_t TargetAttr::residentBlocks(int64_t cluster, int64_t slots) const {
  return slots * getMultiprocessors() * (cluster <= 2 ? 100 : 88) / 100;
}

LogicalResult TargetAttr::verify(function_ref<InFlightDiagnostic()> emitError, StringRef, int64_t multiprocessors,
                                 int64_t sharedBytes, int64_t reservedSharedBytes, int64_t blockSharedBytes) {
  if (multiprocessors <= 0)
    return emitError() << "a target has at least one multiprocessor, found " << multiprocessors;
  if (blockSharedBytes <= 0 || reservedSharedBytes < 0 || blockSharedBytes > sharedBytes - reservedSharedBytes)
    return emitError() << "a block has at most the " << sharedBytes << " bytes of a multiprocessor less the "
                       << reservedSharedBytes << " reserved ones, found " << blockSharedBytes;
  return success();
}

TargetAttr inlay::tile::knownTarget(MLIRContext *context, StringRef arch) {
  // H100 and H200 SXM; CUDA C++ Programming Guide, "Compute Capability 9.0".
  if (arch == "sm_90a")
    return TargetAttr::get(context, arch, /*multiprocessors=*/132, /*shared_bytes=*/228 * 1024,
                           /*reserved_shared_bytes=*/1024, /*block_shared_bytes=*/227 * 1024);
  return TargetAttr();
}

TargetAttr inlay::tile::targetOf(Operation *op) {
  for (Operation *outer = op; outer; outer = outer->getParentOp())
    if (auto target = outer->getAttrOfType<TargetAttr>(kTargetAttr))
      return target;
  return knownTarget(op->getContext(), "sm_90a");
}

LogicalResult TileDialect::verifyOperationAttribute(Operation *op, NamedAttribute attribute) {
  if (attribute.getName() != kTargetAttr)
    return success();
  if (!isa<ModuleOp>(op))
    return op->emitError() << "has " << kTargetAttr << ", which stands on a module";
  if (!isa<TargetAttr>(attribute.getValue()))
    return op->emitError() << "has " << kTargetAttr << " = " << attribute.getValue() << ", expected #tile.target<...>";
  return success();
}
