#include "runtime/bundle/verify_launch.h"

#include "runtime/bundle/cache_groups.h"
#include "runtime/bundle/recipe.h"
#include "runtime/bundle/step_capacity.h"
#include "runtime/bundle/verify_stages.h"

#include <algorithm>
#include <optional>

namespace inlay {

bool IsCount(const plan::Count &count) {
  return count.divisor() != 0 && count.multiplier() != 0 && count.multiplier() <= kMaxCount &&
         *plan::EnumNameExtent(count.extent());
}

namespace {

// The most that a size of the step can be in an entry point; nothing for the rows of a cache, which are not the plan's.
std::optional<uint64_t> LargestExtent(plan::Extent extent, const plan::Entry &entry, const plan::Model &model) {
  switch (extent) {
  case plan::Extent_Tokens:
  case plan::Extent_QueryTiles:
    return entry.max_tokens();
  case plan::Extent_Sequences:
  case plan::Extent_LogitRows:
    return entry.max_sequences();
  case plan::Extent_PenaltyEntries:
    return CapacityOf(model).penalty_entries;
  case plan::Extent_One:
    return 1;
  case plan::Extent_KvRows:
    break;
  }
  return std::nullopt;
}

// Bytes behind an argument; of a cache those of one row, since the number of rows is decided when it is loaded.
uint64_t BytesBehind(const plan::Argument &argument, const plan::Entry &entry, const plan::Target &target,
                     const plan::Model &model) {
  switch (argument.kind()) {
  case plan::BufferKind_Workspace:
    return entry.workspace_bytes() - argument.offset();
  case plan::BufferKind_Weight:
    return target.weights()->Get(argument.index())->bytes();
  case plan::BufferKind_KeyCache:
  case plan::BufferKind_ValueCache: {
    const plan::CacheGroup &group = *GroupOfLayer(model, argument.index());
    return uint64_t{group.head_dim()} * ElementSize(group.type());
  }
  case plan::BufferKind_Metadata:
    return static_cast<uint64_t>(MetadataElements(argument.metadata(), CapacityOf(model))) * sizeof(int32_t);
  case plan::BufferKind_Logits:
    return uint64_t{model.max_num_seqs()} * model.vocab_size() * sizeof(float);
  case plan::BufferKind_Tokens:
    return uint64_t{model.max_num_seqs()} * sizeof(int32_t);
  case plan::BufferKind_Rank:
    return sizeof(int32_t);
  case plan::BufferKind_Source: // only while weights are packed
    break;
  }
  return 0;
}

bool IsCache(const plan::Argument &argument) {
  return argument.kind() == plan::BufferKind_KeyCache || argument.kind() == plan::BufferKind_ValueCache;
}

absl::Status VerifyArgument(const plan::Argument &argument, std::string_view kernel, const plan::Entry &entry,
                            const plan::Target &target, const plan::Model &model) {
  switch (argument.kind()) {
  case plan::BufferKind_Workspace:
    if (argument.offset() >= entry.workspace_bytes() || argument.offset() % 16 != 0)
      return BadPlan("a launch of '{}' reads the workspace at {} of {} bytes", kernel, argument.offset(),
                     entry.workspace_bytes());
    break;
  case plan::BufferKind_Weight:
    if (!target.weights() || argument.index() >= target.weights()->size())
      return BadPlan("a launch of '{}' reads weight {}, which does not exist", kernel, argument.index());
    break;
  case plan::BufferKind_KeyCache:
  case plan::BufferKind_ValueCache:
    if (!GroupOfLayer(model, argument.index()))
      return BadPlan("a launch of '{}' reads the cache of layer {} of {}", kernel, argument.index(), model.layers());
    break;
  case plan::BufferKind_Metadata:
    if (argument.metadata() < 0 || argument.metadata() > plan::Metadata_MAX)
      return BadPlan("a launch of '{}' reads metadata {}, which does not exist", kernel,
                     static_cast<int>(argument.metadata()));
    if (argument.index() >= (argument.metadata() == plan::Metadata_PageTable ? model.cache_groups()->size() : 1))
      return BadPlan("a launch of '{}' reads {} of cache group {} of {}", kernel,
                     plan::EnumNameMetadata(argument.metadata()), argument.index(), model.cache_groups()->size());
    break;
  case plan::BufferKind_Logits:
  case plan::BufferKind_Tokens:
  case plan::BufferKind_Rank:
    break;
  default:
    return BadPlan("a launch of '{}' has an argument of kind {}", kernel, static_cast<int>(argument.kind()));
  }
  return VerifyStageArgument(argument, kernel, entry, target, model);
}

// What the kernel reads and writes behind an argument must be there.
absl::Status VerifyView(const plan::View &view, const plan::Argument &argument, uint32_t index, std::string_view kernel,
                        const plan::Entry &entry, const plan::Target &target, const plan::Model &model) {
  uint64_t available = BytesBehind(argument, entry, target, model);
  std::optional<uint64_t> extent = LargestExtent(view.rows().extent(), entry, model);
  if (IsCache(argument) != !extent)
    return BadPlan("argument {} of '{}' is {} cache, but its kernel expects the opposite", index, kernel,
                   IsCache(argument) ? "a" : "no");
  uint64_t needed = 0;
  uint64_t rows = (extent.value_or(1) + view.rows().divisor() - 1) / view.rows().divisor() * view.rows().multiplier();
  if (__builtin_mul_overflow(rows, view.row_bytes(), &needed) || needed > available)
    return BadPlan("argument {} of '{}' has {} bytes, its kernel expects {} rows of {}", index, kernel, available, rows,
                   view.row_bytes());
  return absl::OkStatus();
}

// The page table of a launch must be that of the cache group whose keys and values it accesses.
absl::Status VerifyPageTables(const plan::Launch &launch, std::string_view kernel, const plan::Model &model) {
  for (const plan::Argument *table : *launch.arguments())
    if (table->kind() == plan::BufferKind_Metadata && table->metadata() == plan::Metadata_PageTable)
      for (const plan::Argument *cache : *launch.arguments())
        if (IsCache(*cache))
          if (uint32_t expected = *GroupIndexOfLayer(model, cache->index()); expected != table->index())
            return BadPlan("a launch of '{}' reads the cache of layer {} through the page table of cache group {}, "
                           "expected group {}",
                           kernel, cache->index(), table->index(), expected);
  return absl::OkStatus();
}

// Ranks exchange activations and logits. An operation writes where it reads, or does not touch that; an epilogue does
// not, since a communicator sums there in place.
absl::Status VerifyCollectiveLaunch(const plan::Launch &launch, const plan::Kernel &kernel, const plan::Entry &entry,
                                    const plan::Model &model) {
  const plan::Collective &collective = *kernel.body_as_Collective();
  const plan::Argument &from = *launch.arguments()->Get(0);
  std::string_view name = kernel.name()->string_view();
  auto bytes = [&](uint32_t i) {
    const plan::View &view = *kernel.views()->Get(i);
    return LargestExtent(view.rows().extent(), entry, model).value_or(1) * view.row_bytes();
  };
  const uint32_t exchanged = collective.epilogue() ? 1 : 2;
  for (uint32_t i = 0; i < launch.arguments()->size(); ++i) {
    const plan::Argument &to = *launch.arguments()->Get(i);
    if (i < exchanged && to.kind() != plan::BufferKind_Workspace && to.kind() != plan::BufferKind_Logits)
      return BadPlan("a launch of '{}' exchanges {}, expected activations or logits", name,
                     plan::EnumNameBufferKind(to.kind()));
    if (i == 0 || from.kind() != to.kind())
      continue;
    const bool is_same = from.offset() == to.offset() || from.kind() == plan::BufferKind_Logits;
    if (is_same ? collective.op() != plan::CollectiveOp_AllReduce || collective.epilogue()
                : from.offset() < to.offset() + bytes(i) && to.offset() < from.offset() + bytes(0))
      return BadPlan("a launch of '{}' writes over what other ranks read", name);
  }
  return absl::OkStatus();
}

// A tensor map must end where its argument does.
absl::Status VerifyTensorMap(const plan::TensorMap &map, const plan::Argument &argument, std::string_view kernel,
                             const plan::Entry &entry, const plan::Target &target, const plan::Model &model) {
  size_t rank = map.dims() ? map.dims()->size() : 0;
  if (rank < 1 || rank > 5 || !map.box() || map.box()->size() != rank || !map.strides() ||
      map.strides()->size() != rank - 1 || !IsFloat(map.type()))
    return BadPlan("a launch of '{}' has a tensor map of rank {}", kernel, rank);
  // Of a cache, the last dimension is cut where the cache ends: what is left must lie in one step of it.
  size_t checked = IsCache(argument) ? rank - 1 : rank;
  uint64_t available = !IsCache(argument) ? BytesBehind(argument, entry, target, model)
                       : rank > 1         ? map.strides()->Get(static_cast<uint32_t>(rank - 2))
                                          : 0;
  uint64_t end = ElementSize(map.type());
  for (uint32_t i = 0; i < checked; ++i) {
    uint64_t size = map.dims()->Get(i), stride = i == 0 ? ElementSize(map.type()) : map.strides()->Get(i - 1),
             bytes = 0;
    if (size == 0 || __builtin_mul_overflow(size - 1, stride, &bytes) || __builtin_add_overflow(end, bytes, &end) ||
        end > available)
      return BadPlan("a tensor map of '{}' reaches beyond the {} bytes of its argument {}", kernel, available,
                     map.argument());
  }
  if (checked == 0 || map.dims()->Get(static_cast<uint32_t>(rank - 1)) == 0)
    return BadPlan("a launch of '{}' has a tensor map of no rows", kernel);
  return absl::OkStatus();
}

} // namespace

absl::Status VerifyLaunch(const plan::Launch &launch, const plan::Entry &entry, const plan::Target &target,
                          const plan::Model &model) {
  if (launch.kernel() >= target.kernels()->size())
    return BadPlan("a launch names kernel {} of {}", launch.kernel(), target.kernels()->size());
  const plan::Kernel &called = *target.kernels()->Get(launch.kernel());
  std::string_view kernel = called.name()->string_view();
  if (!launch.arguments() || !launch.grid() || launch.grid()->size() < 1 || launch.grid()->size() > 3)
    return BadPlan("a launch of '{}' has no arguments or no grid", kernel);
  for (const plan::Count *count : *launch.grid())
    if (!IsCount(*count))
      return BadPlan("a launch of '{}' has a grid of {} * ceil(extent {} / {})", kernel, count->multiplier(),
                     static_cast<int>(count->extent()), count->divisor());
  uint32_t views = called.views() ? called.views()->size() : 0;
  if (launch.arguments()->size() != views)
    return BadPlan("a launch of '{}' has {} arguments, but the kernel takes {}", kernel, launch.arguments()->size(),
                   views);
  for (uint32_t i = 0; i < views; ++i) {
    const plan::Argument &argument = *launch.arguments()->Get(i);
    if (absl::Status status = VerifyArgument(argument, kernel, entry, target, model); !status.ok())
      return status;
    if (absl::Status status = VerifyView(*called.views()->Get(i), argument, i, kernel, entry, target, model);
        !status.ok())
      return status;
  }
  if (absl::Status status = VerifyPageTables(launch, kernel, model); !status.ok())
    return status;
  if (called.body_as_Collective())
    if (absl::Status status = VerifyCollectiveLaunch(launch, called, entry, model); !status.ok())
      return status;
  uint32_t maps = launch.tensor_maps() ? launch.tensor_maps()->size() : 0;
  uint32_t taken = called.body_as_Code() ? called.body_as_Code()->tensor_maps() : 0;
  if (maps != taken)
    return BadPlan("a launch of '{}' has {} tensor maps, but the kernel takes {}", kernel, maps, taken);
  for (uint32_t i = 0; i < maps; ++i) {
    const plan::TensorMap &map = *launch.tensor_maps()->Get(i);
    if (map.argument() >= views)
      return BadPlan("a launch of '{}' has a tensor map of argument {} of {}", kernel, map.argument(), views);
    if (absl::Status status =
            VerifyTensorMap(map, *launch.arguments()->Get(map.argument()), kernel, entry, target, model);
        !status.ok())
      return status;
  }
  return absl::OkStatus();
}

absl::Status VerifyPushes(const flatbuffers::Vector<flatbuffers::Offset<plan::Launch>> &launches,
                          const plan::Target &target) {
  const plan::Launch *pushing = nullptr, *before = nullptr;
  auto name_of = [&](const plan::Launch &launch) {
    return target.kernels()->Get(launch.kernel())->name()->string_view();
  };
  for (const plan::Launch *launch : launches) {
    const plan::Kernel &kernel = *target.kernels()->Get(launch->kernel());
    const plan::Code *code = kernel.body_as_Code();
    const plan::Collective *collective = kernel.body_as_Collective();
    const bool pushes = code && code->peers();
    if (collective && collective->early() && (!before || pushing != before))
      return BadPlan("a launch of '{}' receives rows early and {}, expected the launch that pushes them before it",
                     name_of(*launch),
                     before ? fmt::format("follows one of '{}'", name_of(*before)) : "is the first launch");
    if (pushing && (pushes || collective)) {
      // The sum receives the rows of its first argument.
      auto is_summed = [&](const plan::Argument *argument) {
        const plan::Argument &rows = *launch->arguments()->Get(0);
        return argument->kind() == rows.kind() && argument->offset() == rows.offset();
      };
      const auto &arguments = *pushing->arguments();
      if (!collective || !collective->epilogue() || std::none_of(arguments.begin(), arguments.end(), is_summed))
        return BadPlan("a launch of '{}' follows one of '{}', which pushes rows, and does not sum them",
                       name_of(*launch), name_of(*pushing));
      pushing = nullptr;
    }
    pushing = pushes ? launch : pushing;
    before = launch;
  }
  if (pushing)
    return BadPlan("a launch of '{}' pushes rows that no launch sums", name_of(*pushing));
  return absl::OkStatus();
}

} // namespace inlay
