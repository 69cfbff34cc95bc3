#include "runtime/api/draft_model.h"

#include "fmt/format.h"
#include "runtime/kv/sequence_pages.h"

#include <algorithm>
#include <cstdio>

namespace inlay {

namespace {

// Returns the engine's options for the draft model. Its limits and weights are those of its own bundle.
EngineOptions DraftOptions(const EngineOptions &options) {
  EngineOptions own = options;
  own.max_model_len = own.max_num_seqs = own.max_num_batched_tokens = 0;
  own.num_speculative_tokens = 0;
  own.kv_cache_bytes = 0;
  own.deterministic = false;
  own.weights_source.clear();
  own.tensor_parallel_size = own.pipeline_parallel_size = 0;
  own.process = {}; // rank 0 runs all ranks of the draft model, as threads
  return own;
}

} // namespace

absl::StatusOr<OpenedModels> OpenModels(const std::string &bundle, const EngineOptions &options,
                                        const DeviceWrapper &wrap) {
  OpenedModels models;
  auto open = [&](const std::string &path, const EngineOptions &options, std::unique_ptr<ModelRanks> &model) {
    absl::StatusOr<std::unique_ptr<ModelRanks>> opened =
        ModelRanks::Open(path, options, wrap, /*is_draft=*/&model == &models.draft);
    if (!opened.ok())
      return opened.status();
    model = *std::move(opened);
    return absl::OkStatus();
  };
  if (options.speculative_model.empty()) {
    if (absl::Status status = open(bundle, options, models.target); !status.ok())
      return status;
    if (absl::Status status = models.target->PlanMemory(options); !status.ok())
      return status;
    return models;
  }
  EngineOptions own = DraftOptions(options);
  if (absl::Status status = open(options.speculative_model, own, models.draft); !status.ok())
    return status;
  if (absl::Status status = open(bundle, options, models.target); !status.ok())
    return status;
  uint32_t found = models.draft->first().model().vocab_size(), expected = models.target->first().model().vocab_size();
  if (found != expected)
    return absl::InvalidArgumentError(fmt::format(
        "--speculative-model {}: has {} token ids, but the model has {}; use a model with the same tokenizer",
        options.speculative_model, found, expected));
  // First plan the draft model's weights and buffers, then the target with both models' pages, then the draft's pages.
  if (absl::Status status = models.draft->PlanMemory(own); !status.ok())
    return status;
  const MemoryPlan &draft = models.draft->memory();
  if (absl::Status status = models.target->PlanMemory(options, &draft); !status.ok())
    return status;
  const MemoryPlan &target = models.target->memory();
  own.kv_cache_bytes = target.draft_bytes - draft.weights_bytes - draft.workspace_bytes - draft.buffers_bytes;
  // Steps of the draft model delay those of the target, so they are not larger.
  own.max_num_batched_tokens = std::min(draft.max_num_batched_tokens, target.max_num_batched_tokens);
  if (absl::Status status = models.draft->PlanMemory(own); !status.ok())
    return status;
  return models;
}

absl::StatusOr<std::unique_ptr<DraftModel>> DraftModel::Load(std::unique_ptr<ModelRanks> ranks,
                                                             const EngineOptions &options) {
  if (absl::Status status = ranks->Load(); !status.ok())
    return status;
  std::unique_ptr<DraftModel> draft(new DraftModel(std::move(ranks), DraftOptions(options)));
  if (absl::Status status = draft->runner_.Prepare(/*host_pages=*/0); !status.ok())
    return status;
  return draft;
}

void DraftModel::Forget(const Sequence *sequence) {
  auto found = drafts_.find(sequence);
  if (found == drafts_.end())
    return;
  ReleaseAll(pool_, found->second.sequence.cache.pages);
  drafts_.erase(found);
}

// Replaces the draft tokens by the tokens of `target`. Keys and values of accepted draft tokens are kept.
void DraftModel::CatchUp(Draft &draft, const Sequence &target) {
  Sequence &sequence = draft.sequence;
  size_t same = draft.known;
  while (same < std::min(sequence.tokens.size(), target.tokens.size()) && sequence.tokens[same] == target.tokens[same])
    ++same;
  sequence.cache.computed =
      std::min({sequence.cache.computed, static_cast<int32_t>(same), static_cast<int32_t>(target.tokens.size()) - 1});
  sequence.tokens.resize(same);
  sequence.tokens.insert(sequence.tokens.end(), target.tokens.begin() + static_cast<int64_t>(same),
                         target.tokens.end());
  draft.known = target.tokens.size();
  // The draft model's own rope tables may have two parts. Draft tokens need not be exact, so the part is chosen by the
  // known tokens.
  auto short_rope_len = static_cast<int32_t>(model_->model().short_rope_len());
  int32_t row = static_cast<int32_t>(target.tokens.size()) > short_rope_len ? short_rope_len : 0;
  if (sequence.cache.first_rope_row != row)
    sequence.cache.computed = 0;
  sequence.cache.first_rope_row = row;
}

// Allocates pages for the rows up to `positions`. If there are too few, takes those of the sequences whose last
// Propose() is the longest ago. Returns false if there are still too few.
bool DraftModel::MakeRoom(Draft &draft, int32_t positions) {
  CachedTokens &cache = draft.sequence.cache;
  while (!TakePages(pool_, shape_, cache.pages, cache.computed, positions)) {
    Draft *oldest = nullptr;
    for (auto &[target, other] : drafts_)
      if (other.asked < calls_ && !other.sequence.cache.pages.empty() && (!oldest || other.asked < oldest->asked))
        oldest = &other;
    if (!oldest)
      return false;
    ReleaseAll(pool_, oldest->sequence.cache.pages);
    oldest->sequence.cache.computed = 0;
  }
  return true;
}

void DraftModel::Propose(std::span<const DraftRequest> requests, int32_t rows) {
  ++calls_;
  // The target waits for this call, so one call computes at most as many prompt positions as fit in one step.
  int32_t behind = model_->memory().max_num_batched_tokens;
  std::vector<std::pair<Draft *, Sequence *>> asked;
  for (const DraftRequest &request : requests) {
    Sequence &target = *request.sequence;
    target.drafts.clear();
    auto length = static_cast<int32_t>(target.tokens.size());
    int32_t most = std::min({request.most, rows, model_->memory().max_model_len - length});
    if (has_failed_ || most <= 0)
      continue;
    auto [found, is_new] = drafts_.try_emplace(&target);
    Draft &draft = found->second;
    if (is_new)
      draft.sequence.sampling = target.sampling;
    draft.asked = calls_;
    CatchUp(draft, target);
    // Later calls go back to no earlier position: the tokens of the target are only appended to.
    FreeInvisible(pool_, shape_, draft.sequence.cache.pages, draft.sequence.cache.computed);
    int32_t left = length - draft.sequence.cache.computed;
    if (behind == 0 && left > 0)
      continue;
    draft.end = draft.sequence.cache.computed + std::min(left, behind);
    // The keys and values of the last draft token are not computed.
    if (!MakeRoom(draft, draft.end == length ? length + most - 1 : draft.end))
      continue;
    behind -= draft.end - draft.sequence.cache.computed;
    draft.wanted = static_cast<size_t>(length);
    if (draft.end == length) {
      draft.wanted += static_cast<size_t>(most);
      rows -= most;
    }
    asked.emplace_back(&draft, &target);
  }
  std::vector<Draft *> drafts;
  for (auto &[draft, target] : asked)
    drafts.push_back(draft);
  if (absl::Status status = Run(std::move(drafts)); !status.ok()) {
    // The output does not depend on draft tokens, so the engine continues without them.
    has_failed_ = true;
    fmt::print(stderr, "inlay: {}: speculative decoding is off from now on: {}\n", model_->path(),
               std::string(status.message()));
    return;
  }
  for (auto &[draft, target] : asked)
    target->drafts.assign(draft->sequence.tokens.begin() + static_cast<int64_t>(draft->known),
                          draft->sequence.tokens.end());
}

// Runs steps until each sequence has `wanted` tokens and `end` computed positions.
absl::Status DraftModel::Run(std::vector<Draft *> drafts) {
  const MemoryPlan &memory = model_->memory();
  while (!drafts.empty()) {
    StepPlan plan;
    int32_t budget = memory.max_num_batched_tokens;
    for (Draft *draft : drafts) {
      Sequence &sequence = draft->sequence;
      if (budget == 0 || static_cast<int32_t>(plan.rows.size()) == memory.max_num_seqs)
        break;
      bool guesses = draft->wanted > draft->known;
      int32_t count = std::min((guesses ? sequence.length() : draft->end) - sequence.cache.computed, budget);
      plan.rows.push_back({&sequence, sequence.cache.computed, count});
      budget -= count;
    }
    absl::StatusOr<LaunchedStep> step = runner_.Launch(plan, /*wants_logits=*/false);
    if (!step.ok())
      return step.status();
    absl::StatusOr<StepResult> result = runner_.Collect(*step);
    if (!result.ok())
      return result.status();
    size_t row = 0;
    for (size_t i = 0; i < plan.rows.size(); ++i) {
      Sequence &sequence = *plan.rows[i].sequence;
      sequence.cache.computed = plan.rows[i].certain_end();
      if (step->wants_token[i])
        sequence.tokens.push_back(result->tokens[row++]);
    }
    std::erase_if(drafts, [](const Draft *draft) {
      return draft->sequence.tokens.size() >= draft->wanted && draft->sequence.cache.computed >= draft->end;
    });
  }
  return absl::OkStatus();
}

} // namespace inlay
