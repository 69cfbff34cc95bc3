#include "runtime/bundle/bundle.h"
#include "runtime/bundle/recipe.h"
#include "runtime/bundle/stages.h"
#include "runtime/bundle/step_capacity.h"
#include "runtime/bundle/verify_halves.h"
#include "runtime/bundle/verify_kernel.h"
#include "runtime/bundle/verify_launch.h"
#include "runtime/bundle/verify_model.h"
#include "runtime/bundle/verify_stages.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace inlay {
namespace {

// Weights lie side by side, each at a multiple of this.
constexpr uint64_t kWeightAlignment = 256;

// Of integers there are orders of columns alone.
bool IsColumnOrder(const plan::Weight &weight) {
  const plan::Recipe &recipe = *weight.recipe();
  return weight.type() == plan::DataType_I32 && recipe.sources() && recipe.sources()->size() == 1 &&
         recipe.rows() == 1 && recipe.packing() == plan::Packing_RowMajor &&
         recipe.row_order() == plan::RowOrder_Plain && recipe.sources()->Get(0)->steps() &&
         std::any_of(recipe.sources()->Get(0)->steps()->begin(), recipe.sources()->Get(0)->steps()->end(),
                     [](const plan::RecipeStep *step) { return step->op() == plan::RecipeOp_ColumnOrder; });
}

absl::Status VerifyWeight(const plan::Weight &weight, uint32_t ranks) {
  if (!weight.name() || !weight.recipe())
    return BadPlan("a weight has no name or no recipe");
  const plan::Recipe &recipe = *weight.recipe();
  std::string_view name = weight.name()->string_view();
  struct {
    const char *what;
    std::string value;
    bool known;
  } forms[] = {{"elements", NameOrNumber(weight.type(), plan::EnumNameDataType(weight.type())),
                IsFloat(weight.type()) || IsCode(weight.type()) || IsColumnOrder(weight)},
               {"rows in the order", NameOrNumber(recipe.row_order(), plan::EnumNameRowOrder(recipe.row_order())),
                recipe.row_order() >= 0 && recipe.row_order() <= plan::RowOrder_MAX},
               {"the packing", NameOrNumber(recipe.packing(), plan::EnumNamePacking(recipe.packing())),
                recipe.packing() >= 0 && recipe.packing() <= plan::Packing_MAX}};
  for (const auto &[what, value, known] : forms)
    if (!known)
      return UnsupportedPlan("weight '{}' has {} {}", name, what, value);
  absl::StatusOr<uint64_t> bytes = WeightBytes(weight);
  if (!bytes.ok())
    return bytes.status();
  if (weight.type() == plan::DataType_U4 && recipe.columns() % 2 != 0)
    return BadPlan("weight '{}' has rows of {} elements, which are no whole bytes", name, recipe.columns());
  if (*bytes == 0 || *bytes > kMaxBytes || *bytes != weight.bytes())
    return BadPlan("weight '{}' has {} bytes, but its shape needs {}", name, weight.bytes(), *bytes);
  if (weight.offset() > kMaxBytes || weight.offset() % kWeightAlignment != 0)
    return BadPlan("weight '{}' is at offset {}, expected a multiple of {}", name, weight.offset(), kWeightAlignment);
  bool is_table = IsRopeTable(recipe);
  if (is_table && (!FitsRopeTable(recipe) || weight.type() != plan::DataType_F32))
    return BadPlan("rope table '{}' has {} columns for {} frequencies", name, recipe.columns(),
                   recipe.inv_freq()->size());
  if (is_table && (recipe.temperature_length() == 0 || !std::isfinite(recipe.temperature_beta())))
    return BadPlan("rope table '{}' has the temperature {} for each {} positions", name, recipe.temperature_beta(),
                   recipe.temperature_length());
  bool has_sources = recipe.sources() && recipe.sources()->size() > 0;
  if (HasValues(recipe)) {
    if (is_table || has_sources)
      return BadPlan("weight '{}' has values and {}", name, is_table ? "frequencies" : "sources");
    if (weight.type() != plan::DataType_F32 || recipe.row_order() != plan::RowOrder_Plain ||
        recipe.packing() != plan::Packing_RowMajor || recipe.values()->size() != recipe.rows() * recipe.columns())
      return BadPlan("weight '{}' has {} values for {} x {} elements {}, expected as many of F32 in plain rows", name,
                     recipe.values()->size(), recipe.rows(), recipe.columns(), plan::EnumNameDataType(weight.type()));
    for (uint32_t i = 0; i < recipe.values()->size(); ++i)
      if (float value = recipe.values()->Get(i); !std::isfinite(value))
        return BadPlan("weight '{}' has the value {} at {}, expected finite values", name, value, i);
  } else if (!is_table && !has_sources) {
    return BadPlan("weight '{}' has no sources", name);
  }
  if (!is_table && has_sources)
    for (const plan::Source *source : *recipe.sources())
      if (absl::Status status = VerifySourceSteps(*source, name, ranks); !status.ok())
        return status;
  if (recipe.packing() == plan::Packing_Atom8x64 && ElementSize(weight.type()) != 2)
    return BadPlan("weight '{}' is packed, but its elements do not have 16 bits", name);
  if (recipe.packing() == plan::Packing_Codes16x128 && !IsCode(weight.type()))
    return BadPlan("weight '{}' is packed as codes, but its elements are {}", name,
                   plan::EnumNameDataType(weight.type()));
  if (recipe.packing() == plan::Packing_Rows16 && weight.type() != plan::DataType_F32)
    return BadPlan("weight '{}' is packed by 16 rows, but its elements are not F32", name);
  if (recipe.row_order() == plan::RowOrder_HalfPairs &&
      (recipe.head_dim() == 0 || recipe.head_dim() % 2 != 0 || recipe.rows() % recipe.head_dim() != 0))
    return BadPlan("weight '{}' has {} rows for heads of {}", name, recipe.rows(), recipe.head_dim());
  if (recipe.row_order() == plan::RowOrder_Alternate && recipe.rows() % 2 != 0)
    return BadPlan("weight '{}' alternates an odd number of rows", name);
  return absl::OkStatus();
}

// The weight that holds factors or zero points of another one must have one for each part of it.
absl::Status VerifyScale(const plan::Scale &scale, const plan::Weight &weight, const plan::Target &target) {
  std::string_view name = weight.name()->string_view();
  if (scale.weight() >= target.weights()->size() || target.weights()->Get(scale.weight()) == &weight ||
      target.weights()->Get(scale.weight())->stage() != weight.stage() || scale.rows() == 0 || scale.columns() == 0)
    return BadPlan("weight '{}' has scales of each {} x {} elements in weight {}", name, scale.rows(), scale.columns(),
                   scale.weight());
  const plan::Recipe &recipe = *weight.recipe(), &found = *target.weights()->Get(scale.weight())->recipe();
  uint64_t rows = (recipe.rows() - 1) / scale.rows() + 1, columns = (recipe.columns() - 1) / scale.columns() + 1;
  if (found.rows() != rows || found.columns() != columns)
    return BadPlan("weight '{}' has {} x {} scales of each {} x {} elements, expected {} x {}", name, found.rows(),
                   found.columns(), scale.rows(), scale.columns(), rows, columns);
  return absl::OkStatus();
}

absl::Status VerifyQuantization(const plan::Weight &weight, const plan::Target &target) {
  const plan::Quantization &quantization = *weight.quantization();
  if (quantization.scales())
    for (const plan::Scale *scale : *quantization.scales())
      if (absl::Status status = VerifyScale(*scale, weight, target); !status.ok())
        return status;
  if (quantization.zero_points())
    if (absl::Status status = VerifyScale(*quantization.zero_points(), weight, target); !status.ok())
      return status;
  if (!IsCode(weight.type()))
    return BadPlan("weight '{}' is quantised and has {} elements", weight.name()->string_view(),
                   plan::EnumNameDataType(weight.type()));
  return absl::OkStatus();
}

// A packing launch takes rows of sources and its own weight, nothing else.
absl::Status VerifyPack(const plan::Weight &weight, uint32_t index, const plan::Target &target) {
  const plan::Launch &launch = *weight.pack();
  std::string_view name = weight.name()->string_view();
  if (launch.kernel() >= target.kernels()->size() || !launch.grid() || launch.grid()->size() != 2 ||
      launch.tensor_maps())
    return BadPlan("the launch that packs weight '{}' has no kernel or no grid", name);
  if (!launch.arguments() || launch.arguments()->size() != 2 ||
      launch.arguments()->Get(0)->kind() != plan::BufferKind_Source ||
      launch.arguments()->Get(1)->kind() != plan::BufferKind_Weight || launch.arguments()->Get(1)->index() != index)
    return BadPlan("the launch that packs weight '{}' does not take sources and that weight", name);
  // One block for 8 rows, and for the columns what divides them.
  const plan::Count &columns = *launch.grid()->Get(1);
  if (!IsCountOf(*launch.grid()->Get(0), plan::Extent_Tokens, 8, 1) || columns.extent() != plan::Extent_One ||
      columns.divisor() != 1 || !IsCount(columns))
    return BadPlan("the launch that packs weight '{}' has a grid of other than 8 rows", name);
  if (weight.recipe()->packing() != plan::Packing_Atom8x64 || !IsFloat(weight.source_type()))
    return BadPlan("weight '{}' is packed by a launch, but is not packed or has sources that are not floats", name);
  // The loader gives it whole rows of the sources, and room for rows of atoms.
  const auto *views = target.kernels()->Get(launch.kernel())->views();
  uint64_t source_row = weight.recipe()->columns() * ElementSize(weight.source_type());
  uint64_t packed_row = (weight.recipe()->columns() + 63) / 64 * 64 * ElementSize(weight.type());
  if (!views || views->size() != 2 || !IsCountOf(views->Get(0)->rows(), plan::Extent_Tokens, 1, 1) ||
      views->Get(0)->row_bytes() > source_row || !IsCountOf(views->Get(1)->rows(), plan::Extent_Tokens, 8, 8) ||
      views->Get(1)->row_bytes() > packed_row)
    return BadPlan("the kernel that packs weight '{}' expects other rows than its {} and {} bytes", name, source_row,
                   packed_row);
  return absl::OkStatus();
}

// Rows of a rope table with two parts are read at short_rope_len plus a position.
absl::Status VerifyRopeParts(const plan::Weight &weight, const plan::Model &model) {
  const plan::Recipe &recipe = *weight.recipe();
  if (IsRopeTable(recipe) && recipe.short_rows() != 0 &&
      (recipe.short_rows() != model.short_rope_len() || recipe.rows() - recipe.short_rows() < model.max_model_len()))
    return BadPlan("rope table '{}' has {} rows for short and {} for long sequences, expected {} and at least {}",
                   weight.name()->string_view(), recipe.short_rows(), recipe.rows() - recipe.short_rows(),
                   model.short_rope_len(), model.max_model_len());
  return absl::OkStatus();
}

absl::Status VerifyTarget(const plan::Target &target, const plan::Plan &plan) {
  const plan::Model &model = *plan.model();
  const uint32_t ranks = RanksOfStage(plan);
  if (!target.name() || !target.kernels() || !target.entries() || target.entries()->size() == 0)
    return BadPlan("a target has no name, kernels or entries");
  if (absl::Status status = VerifyFileName(target.name()->string_view(), "target"); !status.ok())
    return status;
  for (const plan::Kernel *kernel : *target.kernels())
    if (absl::Status status = VerifyKernel(*kernel, target.name()->string_view(), ranks); !status.ok())
      return status;
  std::vector<uint64_t> weights_ends(StageCount(model));
  if (target.weights())
    for (const plan::Weight *weight : *target.weights()) {
      if (absl::Status status = VerifyWeight(*weight, ranks); !status.ok())
        return status;
      if (absl::Status status = VerifyRopeParts(*weight, model); !status.ok())
        return status;
      if (weight->stage() >= weights_ends.size())
        return BadPlan("weight '{}' is of stage {} of {}", weight->name()->string_view(), weight->stage(),
                       weights_ends.size());
      uint64_t &weights_end = weights_ends[weight->stage()];
      if (weight->offset() != (weights_end + kWeightAlignment - 1) / kWeightAlignment * kWeightAlignment)
        return BadPlan("weight '{}' is at offset {}, but the previous one ends at {}", weight->name()->string_view(),
                       weight->offset(), weights_end);
      weights_end = weight->offset() + weight->bytes();
      if (weights_end > kMaxBytes)
        return BadPlan("the weights have {} bytes", weights_end);
    }
  for (uint32_t i = 0; target.weights() && i < target.weights()->size(); ++i) {
    const plan::Weight &weight = *target.weights()->Get(i);
    if (IsCode(weight.type()) && !weight.quantization())
      return BadPlan("weight '{}' has {} elements and no scales", weight.name()->string_view(),
                     plan::EnumNameDataType(weight.type()));
    if (weight.quantization())
      if (absl::Status status = VerifyQuantization(weight, target); !status.ok())
        return status;
    if (weight.pack())
      if (absl::Status status = VerifyPack(weight, i, target); !status.ok())
        return status;
  }
  for (const plan::Entry *entry : *target.entries()) {
    if (!entry->name() || entry->max_tokens() == 0 || entry->max_sequences() == 0 || entry->query_tile_rows() == 0 ||
        entry->max_tokens() > kMaxCount || entry->max_sequences() > entry->max_tokens() ||
        entry->workspace_bytes() > kMaxBytes)
      return BadPlan("an entry has invalid sizes: {} tokens, {} sequences, {} workspace bytes", entry->max_tokens(),
                     entry->max_sequences(), entry->workspace_bytes());
    if (entry->stage() >= StageCount(model))
      return BadPlan("entry '{}' is of stage {} of {}", entry->name()->string_view(), entry->stage(),
                     StageCount(model));
    StepCapacity capacity = CapacityOf(model);
    if (entry->max_tokens() > static_cast<uint32_t>(capacity.tokens) ||
        entry->max_sequences() > static_cast<uint32_t>(capacity.sequences))
      return BadPlan("entry '{}' takes {} tokens of {} sequences, but the model takes {} of {}",
                     entry->name()->string_view(), entry->max_tokens(), entry->max_sequences(), capacity.tokens,
                     capacity.sequences);
    if (entry->graph_buckets())
      for (uint32_t bucket : *entry->graph_buckets())
        if (bucket == 0 || bucket > entry->max_tokens())
          return BadPlan("entry '{}' has a graph of {} rows, expected 1 to {}", entry->name()->string_view(), bucket,
                         entry->max_tokens());
    for (const auto *launches :
         {entry->launches(), entry->gathers(), entry->penalties(), entry->sampling(), entry->part_sampling()}) {
      if (!launches)
        continue;
      for (const plan::Launch *launch : *launches)
        if (absl::Status status = VerifyLaunch(*launch, *entry, target, model); !status.ok())
          return status;
      if (absl::Status status = VerifyPushes(*launches, target); !status.ok())
        return status;
    }
    if (absl::Status status = VerifyHalves(*entry, target); !status.ok())
      return status;
  }
  return VerifyStageEntries(target, model);
}

} // namespace

absl::Status VerifyPlan(const plan::Plan &plan) {
  if (!plan.model() || !plan.targets() || plan.targets()->size() == 0)
    return BadPlan("has no model or no targets");
  if (absl::Status status = VerifyModel(plan); !status.ok())
    return status;
  for (const plan::Target *target : *plan.targets())
    if (absl::Status status = VerifyTarget(*target, plan); !status.ok())
      return status;
  return absl::OkStatus();
}

} // namespace inlay
