// Which layers of a plan share the shape of their keys and values.
#ifndef INLAY_RUNTIME_BUNDLE_CACHE_GROUPS_H_
#define INLAY_RUNTIME_BUNDLE_CACHE_GROUPS_H_

#include "runtime/bundle/elements.h"
#include "runtime/bundle/plan_generated.h"
#include "runtime/bundle/stages.h"

#include <algorithm>
#include <cstdint>
#include <optional>

namespace inlay {

// The index of the group that holds the cache of a layer, or nothing. The layers of a group ascend.
inline std::optional<uint32_t> GroupIndexOfLayer(const plan::Model &model, uint32_t layer) {
  for (uint32_t i = 0; i < model.cache_groups()->size(); ++i)
    if (const auto &layers = *model.cache_groups()->Get(i)->layers();
        std::binary_search(layers.begin(), layers.end(), layer))
      return i;
  return std::nullopt;
}

// The group itself, or null.
inline const plan::CacheGroup *GroupOfLayer(const plan::Model &model, uint32_t layer) {
  std::optional<uint32_t> index = GroupIndexOfLayer(model, layer);
  return index ? model.cache_groups()->Get(*index) : nullptr;
}

// The number of layers of a group before `layer`.
inline uint32_t LayersBefore(const plan::CacheGroup &group, uint32_t layer) {
  return static_cast<uint32_t>(std::lower_bound(group.layers()->begin(), group.layers()->end(), layer) -
                               group.layers()->begin());
}

// The number of layers before `layer` in its group, of those of its stage. A page has room for the keys and values of
// as many layers as the largest group has in the stage: those of a layer are at this place.
inline uint32_t PlaceInGroup(const plan::CacheGroup &group, uint32_t layer, const LayerRange &stage) {
  return LayersBefore(group, layer) - LayersBefore(group, stage.begin);
}

// The number of layers of the group that has the most in a stage.
inline uint32_t LayersOfPage(const plan::Model &model, const LayerRange &stage) {
  uint32_t layers = 0;
  for (const plan::CacheGroup *group : *model.cache_groups())
    layers = std::max(layers, LayersBefore(*group, stage.end) - LayersBefore(*group, stage.begin));
  return layers;
}

// Rows of one page in the cache of a layer: the most of all groups.
inline uint64_t RowsOfPage(const plan::Model &model) {
  uint64_t rows = 0;
  for (const plan::CacheGroup *group : *model.cache_groups())
    rows = std::max(rows, uint64_t{group->kv_heads()} * group->page_size());
  return rows;
}

// Bytes of a page of one layer's keys; of its values as many. They are equal in all groups of a verified plan.
inline uint64_t LayerPageBytes(const plan::CacheGroup &group) {
  return uint64_t{group.kv_heads()} * group.page_size() * group.head_dim() * ElementSize(group.type());
}

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_CACHE_GROUPS_H_
