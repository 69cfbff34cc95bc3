//===- AllocateShared.cpp - assigns offsets in shared memory ---------------===//

#include "mlir/IR/Builders.h"
#include "passes/cuda/Passes.h"

#include <map>

namespace inlay {
#define GEN_PASS_DEF_ALLOCATESHAREDPASS
#include "passes/cuda/Passes.h.inc"
} // namespace inlay

using namespace mlir;
using namespace inlay;

namespace {
struct AllocateSharedPass : inlay::impl::AllocateSharedPassBase<AllocateSharedPass> {
  void runOnOperation() override;
};
} // namespace

/// The names and sizes in bytes of `buffers`, for a message.
static std::string listOf(ArrayRef<cuda::SharedBufferOp> buffers) {
  std::string text;
  for (cuda::SharedBufferOp buffer : buffers) {
    auto name = buffer->getLoc()->findInstanceOf<NameLoc>();
    text += (text.empty() ? "" : ", ") + (name ? name.getName().str() : std::string("a buffer")) + " " +
            std::to_string(buffer.getBytes());
  }
  return text.empty() ? "" : " (" + text + ")";
}

void AllocateSharedPass::runOnOperation() {
  cuda::KernelOp kernel = getOperation();
  SmallVector<cuda::SharedBufferOp> buffers;
  kernel.walk([&](cuda::SharedBufferOp buffer) { buffers.push_back(buffer); });
  DenseMap<Operation *, int64_t> places;
  auto place = [&](cuda::SharedBufferOp buffer, int64_t &end) {
    int64_t offset = llvm::alignTo(end, buffer.getAlignment());
    places[buffer] = offset;
    end = offset + buffer.getBytes();
  };
  std::map<int64_t, int64_t> overlays; // end offset of each overlay, by number
  for (cuda::SharedBufferOp buffer : buffers)
    if (buffer.getOverlay())
      place(buffer, overlays[*buffer.getOverlay()]);
  int64_t needed = 0;
  for (auto [number, end] : overlays)
    needed = std::max(needed, end);
  for (cuda::SharedBufferOp buffer : buffers)
    if (!buffer.getOverlay())
      place(buffer, needed);

  int64_t granted = kernel.getSharedBytes();
  if (granted > 0 && needed > granted) {
    kernel.emitError() << cuda::describe(kernel) << " needs " << needed << " bytes of shared memory" << listOf(buffers)
                       << ", but its schedule has " << granted << "; use fewer stages";
    return signalPassFailure();
  }
  tile::TargetAttr target = tile::targetOf(kernel);
  if (int64_t bytes = std::max(needed, granted); bytes > target.getBlockSharedBytes()) {
    kernel.emitError() << cuda::describe(kernel) << " needs " << bytes << " bytes of shared memory" << listOf(buffers)
                       << ", but a block of " << target.getArch() << " has " << target.getBlockSharedBytes()
                       << "; use smaller tiles or fewer stages";
    return signalPassFailure();
  }
  if (granted == 0)
    kernel.setSharedBytes(needed);
  for (cuda::SharedBufferOp buffer : buffers) {
    OpBuilder builder(buffer);
    Value pointer = cuda::SharedOp::create(builder, buffer.getLoc(), buffer.getResult().getType(), places[buffer]);
    buffer.replaceAllUsesWith(pointer);
    buffer.erase();
  }
}
