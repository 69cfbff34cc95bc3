//===- CacheGroups.cpp - which layers share pages of the KV cache ----------===//

#include "compiler/pipelines/CacheGroups.h"

#include "dialects/llm/Llm.h"
#include "fmt/format.h"
#include "runtime/kv/cache_shape.h"
#include <map>
#include <tuple>

using namespace mlir;
using namespace inlay;

/// Each step writes a page table for each group, so there are few.
static constexpr size_t maxGroups = 8;

namespace {

/// What the ops of the model say about the cache of one layer.
struct LayerCache {
  int64_t kvHeads = 0, headDim = 0;
  Type type;
  int64_t window = -1; // the largest of those that read it; -1: none does; 0: all positions
  llm::KvAppendOp append;
};

} // namespace

/// The caches of the model, by layer.
static FailureOr<std::map<int64_t, LayerCache>> findCaches(ModuleOp model) {
  std::map<int64_t, LayerCache> caches;
  model.walk([&](llm::KvAppendOp op) {
    auto type = cast<RankedTensorType>(op.getKey().getType());
    auto headDim = static_cast<int64_t>(op.getHeadDim());
    Type stored = op.getCache().getType().getStoredType(type.getElementType());
    caches[static_cast<int64_t>(op.getLayer())] = {type.getDimSize(1) / headDim, headDim, stored, -1, op};
  });
  LogicalResult result = success();
  model.walk([&](llm::PagedAttentionOp op) {
    auto found = caches.find(static_cast<int64_t>(op.getLayer()));
    if (found == caches.end()) {
      result = op.emitError() << "reads the cache of layer " << op.getLayer()
                              << ", to which no llm.kv_append writes; expected one before it";
      return;
    }
    if (llm::KvAppendOp append = found->second.append;
        append.getKeyScaleAttr() != op.getKeyScaleAttr() || append.getValueScaleAttr() != op.getValueScaleAttr()) {
      result = op.emitError() << "reads the cache of layer " << op.getLayer()
                              << " with other scales than its llm.kv_append wrote it";
      return;
    }
    int64_t window = op.getWindow() ? static_cast<int64_t>(*op.getWindow()) : 0, &known = found->second.window;
    known = window == 0 || known == 0 ? 0 : std::max(known, window);
  });
  if (failed(result))
    return failure();
  for (auto &[layer, cache] : caches)
    cache.window = std::max<int64_t>(cache.window, 0);
  return caches;
}

/// All pages have the same bytes, whichever layer's keys they hold.
static LogicalResult requireEqualPages(const std::map<int64_t, LayerCache> &caches) {
  const auto &[firstLayer, first] = *caches.begin();
  for (const auto &[layer, cache] : caches)
    if (cache.kvHeads * cache.headDim != first.kvHeads * first.headDim || cache.type != first.type) {
      llm::KvAppendOp op = cache.append;
      return op.emitError()
             << "has " << cache.kvHeads << " kv heads of " << cache.headDim << " (" << cache.type << "), but layer "
             << firstLayer << " has " << first.kvHeads << " of " << first.headDim << " (" << first.type
             << "); expected as many bytes of keys for a position in all layers, since layers share pages";
    }
  return success();
}

using Classes = std::map<std::tuple<int64_t, int64_t, int64_t>, SmallVector<uint32_t>>;

/// Layers by window, kv heads and head size. Without `windows` each layer keeps all positions.
static Classes classify(const std::map<int64_t, LayerCache> &caches, bool windows) {
  Classes classes;
  for (const auto &[layer, cache] : caches)
    classes[{windows ? cache.window : 0, cache.kvHeads, cache.headDim}].push_back(static_cast<uint32_t>(layer));
  return classes;
}

namespace {
/// A division into groups of at most `layers` layers, by its cost.
struct Choice {
  int64_t pages = 0; // of one layer, that a sequence of maxModelLen positions holds; with those of unused places
  size_t groups = 0;
  int64_t layers = 0;
  Classes classes;
};
} // namespace

/// A cheap division with few groups. More groups are chosen only if they save a twentieth of the memory.
static Choice choose(Classes classes, const StepLimits &limits) {
  int64_t largest = 0;
  for (const auto &[key, layers] : classes)
    largest = std::max(largest, static_cast<int64_t>(layers.size()));
  std::optional<Choice> best;
  for (int64_t size = largest; size > 0; --size) {
    Choice choice{0, 0, size, {}};
    for (const auto &[key, layers] : classes) {
      auto groups = static_cast<int64_t>(llvm::divideCeil(layers.size(), size));
      CacheShape shape{static_cast<int32_t>(limits.pageSize), {static_cast<int32_t>(std::get<0>(key))}};
      choice.pages += groups * size * shape.PagesHeld(static_cast<int32_t>(limits.maxModelLen), 1);
      choice.groups += groups;
    }
    if (!best || (choice.groups <= maxGroups && choice.pages * 20 < best->pages * 19))
      best = choice;
  }
  best->classes = std::move(classes);
  return *best;
}

FailureOr<std::vector<CacheGroup>> inlay::chooseCacheGroups(ModuleOp model, const StepLimits &limits) {
  FailureOr<std::map<int64_t, LayerCache>> caches = findCaches(model);
  if (failed(caches))
    return failure();
  if (caches->empty())
    return model.emitError("has no keys and values: expected at least one llm.kv_append");
  if (failed(requireEqualPages(*caches)))
    return failure();
  Choice whole = choose(classify(*caches, /*windows=*/false), limits);
  Choice choice = choose(classify(*caches, /*windows=*/true), limits);
  bool hasWindows = llvm::any_of(*caches, [](const auto &layer) { return layer.second.window > 0; });
  if (hasWindows)
    emitRemark(NameLoc::get(StringAttr::get(model.getContext(), "kv_cache")))
        << fmt::format("cache groups: {} of up to {} layers; a sequence of {} positions takes {:.2f} times the memory "
                       "of pages that are never freed{}",
                       choice.groups, choice.layers, limits.maxModelLen,
                       static_cast<double>(choice.pages) / static_cast<double>(whole.pages),
                       choice.pages < whole.pages ? "" : ", so pages outside windows are not freed");
  if (choice.pages >= whole.pages)
    choice = std::move(whole);
  std::vector<CacheGroup> groups;
  for (const auto &[key, layers] : choice.classes)
    for (ArrayRef<uint32_t> rest = layers; !rest.empty();
         rest = rest.drop_front(std::min<size_t>(rest.size(), choice.layers))) {
      CacheGroup &group = groups.emplace_back();
      group.layers.assign(rest.take_front(choice.layers).begin(), rest.take_front(choice.layers).end());
      std::tie(group.window, group.kvHeads, group.headDim) = key;
      group.type = caches->begin()->second.type;
    }
  return groups;
}
