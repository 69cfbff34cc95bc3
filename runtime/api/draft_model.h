// The draft model of speculative decoding (Leviathan et al., 2023): a smaller model with its own keys and values that
// proposes tokens.
//
// It samples with the parameters, seed and positions of the request, so it uses the same random numbers as the main
// model. If the two distributions are close, most tokens are equal. A step accepts a draft token only if the main model
// samples the same token, so the output is the same as without a draft model, with any temperature.
#ifndef INLAY_RUNTIME_API_DRAFT_MODEL_H_
#define INLAY_RUNTIME_API_DRAFT_MODEL_H_

#include "runtime/api/step_runner.h"
#include "runtime/schedule/drafter.h"

#include <unordered_map>

namespace inlay {

// The opened bundles of an engine, with the plan of how they share the memory of one device.
struct OpenedModels {
  std::unique_ptr<ModelRanks> target;
  std::unique_ptr<ModelRanks> draft; // of --speculative-model, or null
};
absl::StatusOr<OpenedModels> OpenModels(const std::string &bundle, const EngineOptions &options,
                                        const DeviceWrapper &wrap);

class DraftModel : public Drafter {
public:
  // Loads a model that OpenModels() has opened.
  static absl::StatusOr<std::unique_ptr<DraftModel>> Load(std::unique_ptr<ModelRanks> ranks,
                                                          const EngineOptions &options);

  void Propose(std::span<const DraftRequest> requests, int32_t rows) override;
  void Forget(const Sequence *sequence) override;

private:
  // The draft model's state of a sequence.
  struct Draft {
    Sequence sequence; // the tokens of the main model's sequence, then draft tokens
    size_t known = 0;  // tokens of the main model's sequence at the last call of Propose()
    size_t wanted = 0; // number of tokens at the end of this call of Propose(), with the draft tokens
    int32_t end = 0;   // number of positions to compute in this call of Propose(), without draft tokens
    int64_t asked = 0; // number of the last call of Propose() with this sequence
  };

  DraftModel(std::unique_ptr<ModelRanks> ranks, const EngineOptions &options)
      : options_(options), ranks_(std::move(ranks)), model_(&ranks_->first()), runner_(*ranks_, options_),
        shape_(model_->cache_shape()), pool_(model_->memory().total_pages, shape_.groups()) {}
  void CatchUp(Draft &draft, const Sequence &target);
  bool MakeRoom(Draft &draft, int32_t positions);
  absl::Status Run(std::vector<Draft *> drafts);

  const EngineOptions options_;
  std::unique_ptr<ModelRanks> ranks_;
  LoadedModel *const model_; // of rank 0
  StepRunner runner_;
  const CacheShape shape_;
  PagePool pool_;
  std::unordered_map<const Sequence *, Draft> drafts_;
  int64_t calls_ = 0;
  bool has_failed_ = false;
};

} // namespace inlay

#endif // INLAY_RUNTIME_API_DRAFT_MODEL_H_
