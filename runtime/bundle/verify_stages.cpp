#include "runtime/bundle/verify_stages.h"

#include "runtime/bundle/cache_groups.h"
#include "runtime/bundle/plan_errors.h"
#include "runtime/bundle/stages.h"
#include "runtime/bundle/verify_launch.h"

#include <algorithm>
#include <vector>

namespace inlay {
namespace {

using Transfers = flatbuffers::Vector<const plan::Transfer *>;

uint32_t Count(const Transfers *transfers) { return transfers ? transfers->size() : 0; }

template <typename T> bool IsEmpty(const flatbuffers::Vector<T> *vector) { return !vector || vector->size() == 0; }

absl::Status VerifyTransfers(const Transfers *transfers, const plan::Entry &entry) {
  // The verifier of FlatBuffers looks at where a vector begins, not at what its elements need.
  if (transfers && transfers->size() > 0 &&
      reinterpret_cast<uintptr_t>(transfers->Data()) % alignof(plan::Transfer) != 0)
    return BadPlan("entry '{}' exchanges rows that are not aligned to {} bytes in the plan",
                   entry.name()->string_view(), alignof(plan::Transfer));
  uint64_t total = 0; // of parts that may overlap
  for (uint32_t i = 0; i < Count(transfers); ++i) {
    const plan::Transfer &transfer = *transfers->Get(i);
    uint64_t bytes = 0, end = 0;
    if (transfer.row_bytes() == 0 || transfer.offset() % 16 != 0 ||
        __builtin_mul_overflow(transfer.row_bytes(), uint64_t{entry.max_tokens()}, &bytes) ||
        __builtin_add_overflow(transfer.offset(), bytes, &end) || end > entry.workspace_bytes())
      return BadPlan("entry '{}' exchanges {} rows of {} bytes at {} of {} bytes of the workspace",
                     entry.name()->string_view(), entry.max_tokens(), transfer.row_bytes(), transfer.offset(),
                     entry.workspace_bytes());
    total += bytes;
    if (total > kMaxBytes)
      return BadPlan("entry '{}' exchanges {} bytes with another stage, expected at most {}",
                     entry.name()->string_view(), total, kMaxBytes);
  }
  return absl::OkStatus();
}

bool TakeTheSameSteps(const plan::Entry &one, const plan::Entry &other) {
  const auto *a = one.graph_buckets(), *b = other.graph_buckets();
  return one.kind() == other.kind() && one.max_tokens() == other.max_tokens() &&
         one.max_sequences() == other.max_sequences() && one.query_tile_rows() == other.query_tile_rows() &&
         (a ? a->size() : 0) == (b ? b->size() : 0) && (!a || !b || std::equal(a->begin(), a->end(), b->begin()));
}

// What `entry` receives must be what `before`, the same entry point in the stage before it, sends.
absl::Status VerifyExchange(const plan::Entry &before, const plan::Entry &entry) {
  bool fits = Count(before.sends()) == Count(entry.receives()) && Count(entry.receives()) > 0;
  for (uint32_t i = 0; fits && i < Count(entry.receives()); ++i)
    fits = before.sends()->Get(i)->row_bytes() == entry.receives()->Get(i)->row_bytes();
  if (fits)
    return absl::OkStatus();
  return BadPlan("entry '{}' of stage {} does not receive what '{}' of stage {} sends", entry.name()->string_view(),
                 entry.stage(), before.name()->string_view(), before.stage());
}

} // namespace

absl::Status VerifyStageLayers(const plan::Plan &plan) {
  const plan::Model &model = *plan.model();
  const uint32_t stages = StageCount(model);
  if (plan.ranks() == 0 || plan.ranks() > kMaxRanks)
    return BadPlan("is for {} ranks, expected 1 to {}", plan.ranks(), kMaxRanks);
  if (plan.ranks() % stages != 0)
    return BadPlan("is for {} ranks, which {} stages cannot share evenly", plan.ranks(), stages);
  if (stages == 1 && !IsEmpty(model.stage_layers()) && model.stage_layers()->Get(0) != model.layers())
    return BadPlan("has a stage with {} of {} layers", model.stage_layers()->Get(0), model.layers());
  uint64_t layers = 0;
  for (uint32_t stage = 0; stages > 1 && stage < stages; ++stage)
    layers += model.stage_layers()->Get(stage);
  if (stages > 1 && layers != model.layers())
    return BadPlan("has stages with {} layers, but the model has {}", layers, model.layers());
  for (uint32_t stage = 0; stage < stages; ++stage)
    if (LayersOfPage(model, LayersOfStage(model, stage)) == 0)
      return BadPlan("has no layer with keys and values in stage {}", stage);
  return absl::OkStatus();
}

absl::Status VerifyStageEntries(const plan::Target &target, const plan::Model &model) {
  const uint32_t stages = StageCount(model);
  std::vector<std::vector<const plan::Entry *>> entries(stages);
  for (const plan::Entry *entry : *target.entries()) {
    const bool is_first = entry->stage() == 0, is_last = entry->stage() + 1 == stages;
    if ((is_first && Count(entry->receives()) > 0) || (is_last && Count(entry->sends()) > 0))
      return BadPlan("entry '{}' of stage {} of {} exchanges rows with a stage that does not exist",
                     entry->name()->string_view(), entry->stage(), stages);
    if (!is_last && (!IsEmpty(entry->gathers()) || !IsEmpty(entry->penalties()) || !IsEmpty(entry->sampling()) ||
                     !IsEmpty(entry->part_sampling())))
      return BadPlan("entry '{}' of stage {} samples tokens, expected only the last of {} stages to",
                     entry->name()->string_view(), entry->stage(), stages);
    for (const Transfers *transfers : {entry->receives(), entry->sends()})
      if (absl::Status status = VerifyTransfers(transfers, *entry); !status.ok())
        return status;
    entries[entry->stage()].push_back(entry);
  }
  for (uint32_t stage = 1; stage < stages; ++stage) {
    if (!std::ranges::equal(entries[0], entries[stage], [](const plan::Entry *one, const plan::Entry *other) {
          return TakeTheSameSteps(*one, *other);
        }))
      return BadPlan("stages 0 and {} of target '{}' have different entry points", stage, target.name()->string_view());
    for (size_t i = 0; i < entries[stage].size(); ++i)
      if (absl::Status status = VerifyExchange(*entries[stage - 1][i], *entries[stage][i]); !status.ok())
        return status;
  }
  return absl::OkStatus();
}

absl::Status VerifyStageArgument(const plan::Argument &argument, std::string_view kernel, const plan::Entry &entry,
                                 const plan::Target &target, const plan::Model &model) {
  const uint32_t stages = StageCount(model);
  switch (argument.kind()) {
  case plan::BufferKind_Weight:
    if (uint32_t stage = target.weights()->Get(argument.index())->stage(); stage != entry.stage())
      return BadPlan("a launch of '{}' in stage {} reads weight '{}' of stage {}", kernel, entry.stage(),
                     target.weights()->Get(argument.index())->name()->string_view(), stage);
    break;
  case plan::BufferKind_KeyCache:
  case plan::BufferKind_ValueCache:
    if (!LayersOfStage(model, entry.stage()).Contains(argument.index()))
      return BadPlan("a launch of '{}' in stage {} reads the cache of layer {}, which another stage has", kernel,
                     entry.stage(), argument.index());
    break;
  case plan::BufferKind_Logits:
  case plan::BufferKind_Tokens:
    if (entry.stage() + 1 != stages)
      return BadPlan("a launch of '{}' in stage {} uses logits or tokens, which are those of stage {}", kernel,
                     entry.stage(), stages - 1);
    break;
  default:
    break;
  }
  return absl::OkStatus();
}

} // namespace inlay
