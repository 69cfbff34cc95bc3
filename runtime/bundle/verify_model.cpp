#include "runtime/bundle/verify_model.h"

#include "runtime/bundle/cache_groups.h"
#include "runtime/bundle/elements.h"
#include "runtime/bundle/plan_errors.h"
#include "runtime/bundle/step_sizes.h"
#include "runtime/bundle/verify_launch.h"
#include "runtime/bundle/verify_stages.h"

#include <vector>

namespace inlay {
namespace {

constexpr uint32_t kMaxLayers = 1 << 16, kMaxCacheGroups = 64;
constexpr uint64_t kMaxRowsOfPage = uint64_t{1} << 30; // kernels index rows of a cache with int32

absl::Status VerifyCacheGroups(const plan::Model &model) {
  const auto *groups = model.cache_groups();
  if (!groups || groups->size() == 0 || groups->size() > kMaxCacheGroups)
    return BadPlan("has {} cache groups, expected 1 to {}", groups ? groups->size() : 0, kMaxCacheGroups);
  std::vector<bool> has_cache(model.layers());
  for (uint32_t i = 0; i < groups->size(); ++i) {
    const plan::CacheGroup &group = *groups->Get(i);
    if (group.kv_heads() == 0 || group.head_dim() == 0 || group.page_size() == 0 || group.kv_heads() > kMaxCount ||
        group.head_dim() > kMaxCount || group.page_size() > kMaxCount || group.window() > kMaxCount * 16u ||
        uint64_t{group.kv_heads()} * group.page_size() > kMaxRowsOfPage || !group.layers() ||
        group.layers()->size() == 0)
      return BadPlan("cache group {} has invalid sizes: {} layers, {} kv heads of {}, pages of {}, a window of {}", i,
                     group.layers() ? group.layers()->size() : 0, group.kv_heads(), group.head_dim(), group.page_size(),
                     group.window());
    for (uint32_t k = 0; k < group.layers()->size(); ++k) {
      uint32_t layer = group.layers()->Get(k);
      if (layer >= model.layers() || has_cache[layer] || (k > 0 && group.layers()->Get(k - 1) >= layer))
        return BadPlan("cache group {} lists layer {} of {} twice, out of order or out of range", i, layer,
                       model.layers());
      has_cache[layer] = true;
    }
    if (!IsFloat(group.type()) && group.type() != plan::DataType_F8E4M3)
      return UnsupportedPlan("cache group {} stores keys and values as {}", i,
                             NameOrNumber(group.type(), plan::EnumNameDataType(group.type())));
    // Any group can use any page, so all pages have the same size.
    const plan::CacheGroup &first = *groups->Get(0);
    if (group.page_size() != first.page_size() || LayerPageBytes(group) != LayerPageBytes(first))
      return UnsupportedPlan("cache group {} has pages of {} positions and {} bytes per layer, but group 0 of {} "
                             "positions and {} bytes",
                             i, group.page_size(), LayerPageBytes(group), first.page_size(), LayerPageBytes(first));
  }
  return absl::OkStatus();
}

// Kernels find a size at its place in the list, so the plan's list must be a beginning of ours.
absl::Status VerifyStepSizes(const plan::Plan &plan) {
  if (!plan.step_sizes() || plan.step_sizes()->size() == 0)
    return BadPlan("names no sizes of a step");
  for (uint32_t i = 0; i < plan.step_sizes()->size(); ++i) {
    std::string_view name = plan.step_sizes()->Get(i)->string_view();
    if (i >= kStepSizeCount || name != kStepSizeNames[i])
      return UnsupportedPlan("gives kernels '{}' as size {} of a step", name, i);
  }
  return absl::OkStatus();
}

} // namespace

absl::Status VerifyModel(const plan::Plan &plan) {
  const plan::Model &model = *plan.model();
  if (model.vocab_size() == 0 || model.layers() == 0 || model.max_model_len() == 0 || model.max_num_seqs() == 0 ||
      model.max_num_batched_tokens() == 0 || model.layers() > kMaxLayers || model.max_model_len() > kMaxCount * 16u ||
      model.max_num_seqs() > kMaxCount || model.max_num_batched_tokens() > kMaxCount ||
      model.short_rope_len() > model.max_model_len())
    return BadPlan("has a model with invalid sizes");
  if (absl::Status status = VerifyCacheGroups(model); !status.ok())
    return status;
  if (absl::Status status = VerifyStepSizes(plan); !status.ok())
    return status;
  return VerifyStageLayers(plan);
}

} // namespace inlay
