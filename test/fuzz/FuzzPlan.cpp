// Arbitrary plans: a plan that passes verification can be read as the engine reads it.
#include "runtime/bundle/bundle.h"
#include "runtime/bundle/cache_groups.h"
#include "runtime/bundle/plan_facts.h"
#include "runtime/bundle/recipe.h"
#include "runtime/bundle/weight_loader.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

// Whatever a source takes of a tensor lies in the tensor.
static void CheckRows(const inlay::plan::Source &source, const inlay::plan::Weight &weight, uint32_t ranks) {
  auto columns = static_cast<int64_t>(weight.recipe()->columns());
  uint64_t block = 1;
  if (source.steps())
    for (const inlay::plan::RecipeStep *step : *source.steps())
      block *= (step->block() != 0 ? step->block() : 1) * (step->parts() != 0 ? step->parts() : 1);
  auto rows = static_cast<int64_t>(block % (uint64_t{1} << 62));
  for (const std::vector<int64_t> &shape : {std::vector{rows, columns}, std::vector{columns, rows}}) {
    absl::StatusOr<inlay::SourceRows> opened =
        inlay::SourceRows::Open(source, shape, weight.recipe()->columns(), "w", {ranks - 1, ranks});
    if (!opened.ok() || opened->count() == 0)
      continue;
    uint64_t end = static_cast<uint64_t>(rows);
    for (uint64_t row : {uint64_t{0}, opened->count() / 2, opened->count() - 1})
      if (uint64_t found = opened->TensorRow(row);
          !opened->is_transposed() && found >= end && found < inlay::SourceRows::kZeroRows)
        __builtin_trap();
  }
}

// The keys and values of a layer lie in the memory of a page, through the page table of its group.
static uint64_t CheckCache(const inlay::plan::Model &model, const inlay::plan::Launch &launch, uint32_t layer,
                           uint32_t stage) {
  const inlay::plan::CacheGroup &group = *inlay::GroupOfLayer(model, layer);
  const inlay::LayerRange layers = inlay::LayersOfStage(model, stage);
  if (!layers.Contains(layer) || inlay::PlaceInGroup(group, layer, layers) >= inlay::LayersOfPage(model, layers) ||
      inlay::LayerPageBytes(group) != inlay::LayerPageBytes(*model.cache_groups()->Get(0)) ||
      uint64_t{group.kv_heads()} * group.page_size() > inlay::RowsOfPage(model))
    __builtin_trap();
  for (const inlay::plan::Argument *argument : *launch.arguments())
    if (argument->kind() == inlay::plan::BufferKind_Metadata &&
        argument->metadata() == inlay::plan::Metadata_PageTable &&
        model.cache_groups()->Get(argument->index()) != &group)
      __builtin_trap();
  return inlay::LayerPageBytes(group);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  using namespace inlay;
  flatbuffers::Verifier verifier(data, size, /*max_depth=*/16, /*max_tables=*/1'000'000);
  if (!plan::VerifyPlanBuffer(verifier))
    return 0;
  const plan::Plan &plan = *plan::GetPlan(data);
  if (!VerifyPlan(plan).ok())
    return 0;
  uint64_t sum = PlanFacts(plan).size();
  for (const plan::Target *target : *plan.targets()) {
    sum += target->name()->size() + WeightsBytes(*target);
    if (target->weights())
      for (const plan::Weight *weight : *target->weights()) {
        sum += *WeightBytes(*weight) + weight->name()->size();
        if (HasValues(*weight->recipe()) &&
            !std::all_of(weight->recipe()->values()->begin(), weight->recipe()->values()->end(),
                         [](float value) { return std::isfinite(value); }))
          __builtin_trap();
        if (!IsRopeTable(*weight->recipe()) && !HasValues(*weight->recipe()))
          for (const plan::Source *source : *weight->recipe()->sources())
            CheckRows(*source, *weight, RanksOfStage(plan));
      }
    for (const plan::Entry *entry : *target->entries()) {
      for (const auto *transfers : {entry->receives(), entry->sends()}) {
        uint64_t total = 0;
        for (uint32_t i = 0; transfers && i < transfers->size(); ++i) {
          const uint64_t bytes = transfers->Get(i)->row_bytes() * entry->max_tokens();
          if (transfers->Get(i)->offset() + bytes > entry->workspace_bytes() ||
              __builtin_add_overflow(total, bytes, &total))
            __builtin_trap();
        }
      }
      for (const auto *launches :
           {entry->launches(), entry->gathers(), entry->penalties(), entry->sampling(), entry->part_sampling()})
        if (launches)
          for (const plan::Launch *launch : *launches) {
            sum += target->kernels()->Get(launch->kernel())->name()->size();
            for (const plan::Count *count : *launch->grid())
              sum += 7 / count->divisor();
            for (const plan::Argument *argument : *launch->arguments())
              if (argument->kind() == plan::BufferKind_Weight)
                sum += target->weights()->Get(argument->index())->bytes();
              else if (argument->kind() == plan::BufferKind_KeyCache || argument->kind() == plan::BufferKind_ValueCache)
                sum += CheckCache(*plan.model(), *launch, argument->index(), entry->stage());
          }
    }
  }
  // Prevents the compiler from removing the code above.
  [[maybe_unused]] static volatile uint64_t kept;
  kept = sum;
  return 0;
}
