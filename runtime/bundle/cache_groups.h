// Which layers of a plan share the shape of their keys and values.
#ifndef INLAY_RUNTIME_BUNDLE_CACHE_GROUPS_H_
#define INLAY_RUNTIME_BUNDLE_CACHE_GROUPS_H_

#include "runtime/bundle/elements.h"
#include "runtime/bundle/plan_generated.h"

#include <algorithm>
#include <cstdint>

namespace inlay {

// The group that holds the cache of a layer, or null. The layers of a group ascend.
inline const plan::CacheGroup *GroupOfLayer(const plan::Model &model, uint32_t layer) {
  for (const plan::CacheGroup *group : *model.cache_groups())
    if (std::binary_search(group->layers()->begin(), group->layers()->end(), layer))
      return group;
  return nullptr;
}

// Bytes of a page of one layer's keys; of its values as many.
inline uint64_t LayerPageBytes(const plan::CacheGroup &group) {
  return uint64_t{group.kv_heads()} * group.page_size() * group.head_dim() * ElementSize(group.type());
}

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_CACHE_GROUPS_H_
