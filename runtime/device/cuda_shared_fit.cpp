#include "runtime/device/cuda_shared_fit.h"

#include "fmt/format.h"
#include "runtime/device/device.h"

namespace inlay {
namespace {

// The sizes of the largest step. Grids of launches that exchange depend on tokens or rows of logits.
StepSizes LargestStep(const plan::Entry &entry) {
  StepSizes sizes;
  sizes.fill(static_cast<int32_t>(entry.max_sequences()));
  sizes[plan::Extent_Tokens] = static_cast<int32_t>(entry.max_tokens());
  return sizes;
}

absl::Status CheckLaunch(const plan::Launch &launch, const plan::Kernel &kernel, const StepSizes &sizes,
                         const SharedGpu &gpu) {
  absl::StatusOr<uint64_t> at_once = gpu.blocks_at_once(launch.kernel());
  if (!at_once.ok())
    return at_once.status();
  uint64_t blocks = 1;
  for (uint32_t count : GridOf(launch, sizes))
    blocks *= count;
  if ((gpu.ranks - 1) * blocks < *at_once)
    return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format(
      "'{}' exchanges rows with {} blocks on each of the {} ranks that share GPU {}, which runs {} of them at the same "
      "time; expected at most {}, or the ranks would wait for each other forever. Name more GPUs (--device), or "
      "compile "
      "the model for smaller steps (--max-num-batched-tokens, --max-num-seqs)",
      kernel.name()->str(), blocks, gpu.ranks, gpu.ordinal, *at_once,
      *at_once == 0 ? 0 : (*at_once - 1) / (gpu.ranks - 1)));
}

} // namespace

absl::Status CheckSharedFit(const plan::Target &target, uint32_t stage, const SharedGpu &gpu) {
  if (gpu.ranks < 2)
    return absl::OkStatus();
  for (const plan::Entry *entry : *target.entries()) {
    if (entry->stage() != stage)
      continue;
    const StepSizes sizes = LargestStep(*entry);
    for (const auto *launches : {entry->launches(), entry->gathers(), entry->sampling(), entry->part_sampling()}) {
      bool is_pushed = false; // what the next launch that exchanges waits for
      for (uint32_t i = 0; launches && i < launches->size(); ++i) {
        const plan::Launch &launch = *launches->Get(i);
        const plan::Kernel &kernel = *target.kernels()->Get(launch.kernel());
        if (const plan::Code *code = kernel.body_as_Code())
          is_pushed |= code->peers();
        const plan::Collective *collective = kernel.body_as_Collective();
        if (!collective || !collective->code())
          continue;
        if (absl::Status status = is_pushed ? absl::OkStatus() : CheckLaunch(launch, kernel, sizes, gpu); !status.ok())
          return status;
        is_pushed = false;
      }
    }
  }
  return absl::OkStatus();
}

} // namespace inlay
