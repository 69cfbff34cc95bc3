#include "fmt/format.h"
#include "runtime/bundle/bundle.h"
#include "runtime/bundle/recipe.h"

namespace inlay {
namespace {

template <typename... Args> absl::Status Bad(fmt::format_string<Args...> format, Args &&...args) {
  return absl::DataLossError("plan.fb: " + fmt::format(format, std::forward<Args>(args)...) +
                             "; the bundle is damaged, compile it again");
}

// Largest sizes that anything in a plan may have: far above what exists, small enough that sums cannot overflow.
constexpr uint64_t kMaxBytes = uint64_t{1} << 48;
// Weights lie side by side, each at a multiple of this.
constexpr uint64_t kWeightAlignment = 256;
constexpr uint32_t kMaxCount = uint32_t{1} << 24;

absl::Status VerifyWeight(const plan::Weight &weight) {
  if (!weight.name() || !weight.recipe())
    return Bad("a weight has no name or no recipe");
  const plan::Recipe &recipe = *weight.recipe();
  std::string_view name = weight.name()->string_view();
  if (weight.type() < plan::DataType_MIN || weight.type() > plan::DataType_MAX ||
      recipe.row_order() > plan::RowOrder_MAX || recipe.packing() > plan::Packing_MAX || recipe.row_order() < 0 ||
      recipe.packing() < 0)
    return Bad("weight '{}' has a type, row order or packing that does not exist", name);
  if (weight.type() > plan::DataType_F16)
    return Bad("weight '{}' has elements that are no floats", name);
  absl::StatusOr<uint64_t> bytes = WeightBytes(weight);
  if (!bytes.ok())
    return bytes.status();
  if (*bytes == 0 || *bytes > kMaxBytes || *bytes != weight.bytes())
    return Bad("weight '{}' has {} bytes, its shape {}", name, weight.bytes(), *bytes);
  if (weight.offset() > kMaxBytes || weight.offset() % kWeightAlignment != 0)
    return Bad("weight '{}' is at offset {}, expected a multiple of {}", name, weight.offset(), kWeightAlignment);
  bool is_table = recipe.inv_freq() && recipe.inv_freq()->size() > 0;
  if (is_table && (recipe.columns() != 2 * uint64_t{recipe.inv_freq()->size()} || weight.type() != plan::DataType_F32))
    return Bad("rope table '{}' has {} columns for {} frequencies", name, recipe.columns(), recipe.inv_freq()->size());
  if (!is_table && (!recipe.sources() || recipe.sources()->size() == 0))
    return Bad("weight '{}' has no sources", name);
  if (recipe.packing() == plan::Packing_Atom8x64 && ElementSize(weight.type()) != 2)
    return Bad("weight '{}' is packed but its elements have no 16 bits", name);
  if (recipe.row_order() == plan::RowOrder_HalfPairs &&
      (recipe.head_dim() == 0 || recipe.head_dim() % 2 != 0 || recipe.rows() % recipe.head_dim() != 0))
    return Bad("weight '{}' has {} rows for heads of {}", name, recipe.rows(), recipe.head_dim());
  if (recipe.row_order() == plan::RowOrder_Alternate && recipe.rows() % 2 != 0)
    return Bad("weight '{}' alternates an odd number of rows", name);
  return absl::OkStatus();
}

absl::Status VerifyLaunch(const plan::Launch &launch, const plan::Entry &entry, const plan::Target &target,
                          const plan::Model &model) {
  if (launch.kernel() >= target.kernels()->size())
    return Bad("a launch names kernel {} of {}", launch.kernel(), target.kernels()->size());
  std::string_view kernel = target.kernels()->Get(launch.kernel())->name()->string_view();
  if (!launch.arguments() || !launch.grid() || launch.grid()->size() < 1 || launch.grid()->size() > 3)
    return Bad("a launch of '{}' has no arguments or no grid", kernel);
  for (const plan::Count *count : *launch.grid())
    if (count->divisor() == 0 || count->multiplier() == 0 || count->multiplier() > kMaxCount || count->extent() < 0 ||
        count->extent() > plan::Extent_MAX)
      return Bad("a launch of '{}' has a grid of {} * ceil(extent {} / {})", kernel, count->multiplier(),
                 static_cast<int>(count->extent()), count->divisor());
  for (const plan::Argument *argument : *launch.arguments()) {
    switch (argument->kind()) {
    case plan::BufferKind_Workspace:
      if (argument->offset() >= std::max<uint64_t>(entry.workspace_bytes(), 1) || argument->offset() % 16 != 0)
        return Bad("a launch of '{}' reads the workspace at {} of {} bytes", kernel, argument->offset(),
                   entry.workspace_bytes());
      break;
    case plan::BufferKind_Weight:
      if (!target.weights() || argument->index() >= target.weights()->size())
        return Bad("a launch of '{}' reads weight {}, which does not exist", kernel, argument->index());
      break;
    case plan::BufferKind_KeyCache:
    case plan::BufferKind_ValueCache:
      if (argument->index() >= model.layers())
        return Bad("a launch of '{}' reads the cache of layer {} of {}", kernel, argument->index(), model.layers());
      break;
    case plan::BufferKind_Metadata:
      if (argument->metadata() < 0 || argument->metadata() > plan::Metadata_MAX)
        return Bad("a launch of '{}' reads metadata {}, which does not exist", kernel,
                   static_cast<int>(argument->metadata()));
      break;
    case plan::BufferKind_Logits:
    case plan::BufferKind_Tokens:
      break;
    default:
      return Bad("a launch of '{}' has an argument of kind {}", kernel, static_cast<int>(argument->kind()));
    }
  }
  if (launch.tensor_maps())
    for (const plan::TensorMap *map : *launch.tensor_maps()) {
      size_t rank = map->dims() ? map->dims()->size() : 0;
      if (map->argument() >= launch.arguments()->size() || rank < 1 || rank > 5 || !map->box() ||
          map->box()->size() != rank || !map->strides() || map->strides()->size() != rank - 1)
        return Bad("a launch of '{}' has a tensor map of rank {}", kernel, rank);
    }
  return absl::OkStatus();
}

// A packing launch takes rows of sources and its own weight, nothing else.
absl::Status VerifyPack(const plan::Weight &weight, uint32_t index, const plan::Target &target) {
  const plan::Launch &launch = *weight.pack();
  std::string_view name = weight.name()->string_view();
  if (launch.kernel() >= target.kernels()->size() || !launch.grid() || launch.grid()->size() != 2 ||
      launch.tensor_maps())
    return Bad("the launch that packs weight '{}' has no kernel or no grid", name);
  if (!launch.arguments() || launch.arguments()->size() != 2 ||
      launch.arguments()->Get(0)->kind() != plan::BufferKind_Source ||
      launch.arguments()->Get(1)->kind() != plan::BufferKind_Weight || launch.arguments()->Get(1)->index() != index)
    return Bad("the launch that packs weight '{}' does not take sources and that weight", name);
  // One block for 8 rows, and for the columns what divides them.
  const plan::Count &rows = *launch.grid()->Get(0), &columns = *launch.grid()->Get(1);
  if (rows.extent() != plan::Extent_Tokens || rows.divisor() != 8 || rows.multiplier() != 1 ||
      columns.extent() != plan::Extent_One || columns.divisor() != 1 || columns.multiplier() == 0 ||
      columns.multiplier() > kMaxCount)
    return Bad("the launch that packs weight '{}' has a grid of other than 8 rows", name);
  if (weight.recipe()->packing() != plan::Packing_Atom8x64 || weight.source_type() < 0 ||
      weight.source_type() > plan::DataType_F16)
    return Bad("weight '{}' is packed by a launch, but is not packed or has sources that are no floats", name);
  return absl::OkStatus();
}

absl::Status VerifyTarget(const plan::Target &target, const plan::Model &model) {
  if (!target.name() || !target.kernels() || !target.entries() || target.entries()->size() == 0)
    return Bad("a target has no name, kernels or entries");
  for (const plan::Kernel *kernel : *target.kernels()) {
    if (!kernel->name() || kernel->name()->size() == 0)
      return Bad("a kernel has no name");
    // Names become file names.
    for (char c : kernel->name()->string_view())
      if (!isalnum(static_cast<unsigned char>(c)) && c != '_')
        return Bad("a kernel's name holds '{}'", c);
  }
  uint64_t weights_end = 0;
  if (target.weights())
    for (const plan::Weight *weight : *target.weights()) {
      if (absl::Status status = VerifyWeight(*weight); !status.ok())
        return status;
      if (weight->offset() != (weights_end + kWeightAlignment - 1) / kWeightAlignment * kWeightAlignment)
        return Bad("weight '{}' is at offset {}, the one before it ends at {}", weight->name()->string_view(),
                   weight->offset(), weights_end);
      weights_end = weight->offset() + weight->bytes();
      if (weights_end > kMaxBytes)
        return Bad("the weights have {} bytes", weights_end);
    }
  for (uint32_t i = 0; target.weights() && i < target.weights()->size(); ++i)
    if (target.weights()->Get(i)->pack())
      if (absl::Status status = VerifyPack(*target.weights()->Get(i), i, target); !status.ok())
        return status;
  for (const plan::Entry *entry : *target.entries()) {
    if (!entry->name() || entry->max_tokens() == 0 || entry->max_sequences() == 0 || entry->query_tile_rows() == 0 ||
        entry->max_tokens() > kMaxCount || entry->max_sequences() > entry->max_tokens() ||
        entry->workspace_bytes() > kMaxBytes)
      return Bad("an entry has sizes that cannot be: {} tokens, {} sequences, {} workspace bytes", entry->max_tokens(),
                 entry->max_sequences(), entry->workspace_bytes());
    for (const auto *launches : {entry->launches(), entry->penalties(), entry->sampling()})
      if (launches)
        for (const plan::Launch *launch : *launches)
          if (absl::Status status = VerifyLaunch(*launch, *entry, target, model); !status.ok())
            return status;
  }
  return absl::OkStatus();
}

} // namespace

absl::Status VerifyPlan(const plan::Plan &plan) {
  const plan::Model *model = plan.model();
  if (!model || !plan.targets() || plan.targets()->size() == 0)
    return Bad("has no model or no targets");
  if (model->vocab_size() == 0 || model->layers() == 0 || model->kv_heads() == 0 || model->head_dim() == 0 ||
      model->page_size() == 0 || model->max_model_len() == 0 || model->max_num_seqs() == 0 ||
      model->max_num_batched_tokens() == 0 || model->layers() > kMaxCount || model->kv_heads() > kMaxCount ||
      model->head_dim() > kMaxCount || model->page_size() > kMaxCount || model->max_model_len() > kMaxCount * 16u ||
      model->max_num_seqs() > kMaxCount || model->max_num_batched_tokens() > kMaxCount || model->kv_type() < 0 ||
      model->kv_type() > plan::DataType_F16)
    return Bad("has a model with sizes that cannot be");
  for (const plan::Target *target : *plan.targets())
    if (absl::Status status = VerifyTarget(*target, *model); !status.ok())
      return status;
  return absl::OkStatus();
}

} // namespace inlay
