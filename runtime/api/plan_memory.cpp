#include "runtime/api/plan_memory.h"

#include "fmt/format.h"
#include "runtime/api/loaded_model.h"
#include "runtime/bundle/cache_groups.h"
#include "runtime/bundle/weight_loader.h"

#include <algorithm>

namespace inlay {
namespace {

// What sequences of `length` positions need of the KV cache.
struct PagesNeeded {
  int64_t per_sequence = 0; // while it generates
  int64_t for_prompts = 0;  // all sequences together, in addition: rows of the steps in flight in groups with a window
  int64_t all = 0;          // the most of `sequences` sequences
};

PagesNeeded CountPages(const CacheShape &shape, int32_t length, int64_t sequences, int64_t rows_of_step,
                       int64_t rows_of_decode, int64_t steps) {
  PagesNeeded needed;
  needed.per_sequence = shape.PagesHeld(length, steps * rows_of_decode);
  auto without_window = [](int32_t window) { return window == 0; };
  int64_t rows = steps * rows_of_step;
  needed.for_prompts = (static_cast<int64_t>(shape.groups()) - std::ranges::count_if(shape.windows, without_window)) *
                       ((rows + shape.page_size - 1) / shape.page_size);
  needed.all = std::min(sequences * needed.per_sequence + needed.for_prompts,
                        sequences * shape.PagesFor(length) * static_cast<int64_t>(shape.groups()));
  return needed;
}

} // namespace

size_t StepsInFlight(const plan::Model &model) { return std::max<size_t>(2, StageCount(model)); }

uint64_t LogitsBytes(const plan::Model &model) {
  return uint64_t{model.max_num_seqs()} * model.vocab_size() * sizeof(float);
}

uint64_t TokensBytes(const plan::Model &model) { return uint64_t{model.max_num_seqs()} * sizeof(int32_t); }

CacheShape CacheShapeOf(const plan::Model &model) {
  CacheShape shape{.page_size = static_cast<int32_t>(model.cache_groups()->Get(0)->page_size()), .windows = {}};
  for (const plan::CacheGroup *group : *model.cache_groups())
    shape.windows.push_back(static_cast<int32_t>(group->window()));
  return shape;
}

absl::StatusOr<MemoryPlan> PlanMemory(const plan::Plan &plan, const plan::Target &target, uint32_t stage,
                                      const Device &device, const EngineOptions &options, const MemoryPlan *draft,
                                      uint64_t exchange_bytes, uint32_t sharing) {
  const plan::Model &model = *plan.model();
  const bool is_last = stage + 1 == StageCount(model);
  auto lowered = [](std::string_view flag, int32_t wanted, uint32_t bound) -> absl::StatusOr<int32_t> {
    if (wanted < 0 || wanted > static_cast<int64_t>(bound))
      return absl::InvalidArgumentError(fmt::format(
          "{} is {}, the bundle was compiled for at most {}; compile it with a larger {}", flag, wanted, bound, flag));
    return wanted == 0 ? static_cast<int32_t>(bound) : wanted;
  };
  absl::StatusOr<int32_t> length = lowered("--max-model-len", options.max_model_len, model.max_model_len()),
                          sequences = lowered("--max-num-seqs", options.max_num_seqs, model.max_num_seqs()),
                          tokens = lowered("--max-num-batched-tokens", options.max_num_batched_tokens,
                                           model.max_num_batched_tokens());
  for (const auto *bound : {&length, &sequences, &tokens})
    if (!bound->ok())
      return bound->status();
  if (!(options.gpu_memory_utilization > 0 && options.gpu_memory_utilization <= 1))
    return absl::InvalidArgumentError(
        fmt::format("--gpu-memory-utilization is {}, expected (0, 1]", options.gpu_memory_utilization));
  MemoryPlan memory;
  memory.target = target.name()->str();
  memory.device = device.Name();
  memory.max_model_len = *length;
  memory.max_num_seqs = std::min(*sequences, *tokens);
  memory.max_num_batched_tokens = *tokens;
  CacheShape shape = CacheShapeOf(model);
  memory.page_size = shape.page_size;
  memory.ranks = static_cast<int32_t>(plan.ranks());
  memory.free_bytes = device.FreeMemory() / sharing;
  memory.usable_bytes = static_cast<uint64_t>(static_cast<double>(memory.free_bytes) * options.gpu_memory_utilization);
  memory.weights_bytes = WeightsBytes(target, stage);
  memory.workspace_bytes = 256;
  for (const plan::Entry *entry : *target.entries())
    if (entry->stage() == stage)
      memory.workspace_bytes = std::max(memory.workspace_bytes, entry->workspace_bytes());
  MetadataLayout layout(CapacityOf(model));
  memory.buffers_bytes = StepsInFlight(model) * (layout.bytes + TokensBytes(model)) + layout.penalty_bytes +
                         (is_last ? LogitsBytes(model) : 0) + sizeof(int32_t) + exchange_bytes;
  if (draft)
    memory.draft_bytes = draft->weights_bytes + draft->workspace_bytes + draft->buffers_bytes;
  uint64_t fixed = memory.weights_bytes + memory.workspace_bytes + memory.buffers_bytes + memory.draft_bytes;
  constexpr double kMiB = 1 << 20;
  auto mib = [](uint64_t bytes) { return static_cast<double>(bytes) / kMiB; };
  if (fixed > memory.usable_bytes)
    return absl::ResourceExhaustedError(fmt::format(
        "weights ({:.1f} MiB), activations ({:.1f}){} step buffers ({:.1f}){} need {:.1f} MiB, expected at most "
        "{:.1f} of the {:.1f} MiB that are free on {}{}; raise --gpu-memory-utilization, free some memory, {}or "
        "compile with a lower --max-num-batched-tokens or --max-num-seqs",
        mib(memory.weights_bytes), mib(memory.workspace_bytes), draft ? "," : " and", mib(memory.buffers_bytes),
        draft ? fmt::format(" and the draft model ({:.1f})", mib(memory.draft_bytes)) : "", mib(fixed),
        mib(memory.usable_bytes), mib(memory.free_bytes), memory.device,
        sharing > 1 ? fmt::format(" for each of the {} ranks that share it", sharing) : "",
        draft ? "leave out --speculative-model, " : ""));
  uint64_t left = memory.usable_bytes - fixed;

  // The remaining memory is used for KV pages, up to the number that all sequences at full length can use.
  memory.bytes_per_page =
      uint64_t{2} * LayersOfPage(model, LayersOfStage(model, stage)) * LayerPageBytes(*model.cache_groups()->Get(0));
  uint64_t budget = options.kv_cache_bytes;
  const char *limit = "--kv-cache-memory-bytes";
  if (budget == 0 && memory.target == "cpu") {
    budget = std::min<uint64_t>(left / 2, (uint64_t{4} << 30) / sharing);
    limit = "half of the free memory, at most 4 GiB; --kv-cache-memory-bytes changes it";
  } else if (budget == 0) {
    budget = left;
    limit = "--gpu-memory-utilization";
  }
  PagesNeeded needed = CountPages(shape, *length, memory.max_num_seqs, memory.max_num_batched_tokens,
                                  1 + options.num_speculative_tokens, static_cast<int64_t>(StepsInFlight(model)));
  // Tokens of a sequence at full length for each of its pages.
  double tokens_per_page = static_cast<double>(int64_t{shape.PagesFor(*length)} * shape.page_size) /
                           static_cast<double>(needed.per_sequence);
  // Bytes of the draft model's pages for as many tokens as one page of this model has.
  double draft_share = 0;
  if (draft)
    draft_share = static_cast<double>(draft->bytes_per_page) * static_cast<double>(draft->total_pages) /
                  static_cast<double>(draft->kv_cache_tokens) * tokens_per_page;
  if (draft && options.kv_cache_bytes == 0) {
    auto page = static_cast<double>(memory.bytes_per_page);
    budget = static_cast<uint64_t>(static_cast<double>(budget) * page / (page + draft_share));
  }
  // Kernels index the rows of a cache with int32.
  uint64_t most = ((uint64_t{1} << 31) - 1) / RowsOfPage(model);
  uint64_t pages = std::min({budget / memory.bytes_per_page, static_cast<uint64_t>(needed.all), most});
  if (pages == static_cast<uint64_t>(needed.all))
    limit = "all sequences at full length (--max-num-seqs, --max-model-len)";
  if (pages < 1)
    return absl::ResourceExhaustedError(fmt::format(
        "KV pages need at least {} bytes, but only {} are left; lower --max-num-batched-tokens or --max-num-seqs, or "
        "raise --gpu-memory-utilization",
        memory.bytes_per_page, budget));
  memory.total_pages = static_cast<int32_t>(pages);
  memory.kv_cache_bytes = pages * memory.bytes_per_page;
  auto count = static_cast<int64_t>(pages);
  memory.kv_cache_tokens = count * shape.page_size * shape.PagesFor(*length) / needed.per_sequence;
  memory.full_length_sequences =
      std::max((count - needed.for_prompts) / needed.per_sequence,
               count / (int64_t{shape.PagesFor(*length)} * static_cast<int64_t>(shape.groups())));
  if (draft)
    memory.draft_bytes +=
        std::max(draft->bytes_per_page, static_cast<uint64_t>(draft_share * static_cast<double>(pages)));
  memory.explanation = fmt::format(
      "{}{}: {:.0f} MiB free, {:.0f} usable; weights {:.1f}, activations {:.1f}, step buffers {:.1f} MiB{}{}; "
      "{} pages of {} "
      "tokens ({:.1f} MiB), limited by {}: {} tokens, {} sequences of {}",
      (StageCount(model) == 1 ? "" : fmt::format("stage {} of {}, ", stage, StageCount(model))) +
          (RanksOfStage(plan) == 1 ? "" : fmt::format("each of {} ranks on ", RanksOfStage(plan))),
      memory.device, static_cast<double>(memory.free_bytes) / kMiB, static_cast<double>(memory.usable_bytes) / kMiB,
      static_cast<double>(memory.weights_bytes) / kMiB, static_cast<double>(memory.workspace_bytes) / kMiB,
      static_cast<double>(memory.buffers_bytes) / kMiB,
      exchange_bytes > 0 ? fmt::format(" ({:.1f} for what ranks exchange)", mib(exchange_bytes)) : "",
      draft ? fmt::format(", draft model {:.1f} MiB", mib(memory.draft_bytes)) : "", pages, memory.page_size,
      static_cast<double>(memory.kv_cache_bytes) / kMiB, limit, memory.kv_cache_tokens, memory.full_length_sequences,
      memory.max_model_len);
  return memory;
}

} // namespace inlay
