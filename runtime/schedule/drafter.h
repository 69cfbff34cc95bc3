// Proposes draft tokens that a step verifies. They change the number of steps of a request, but never its output
// tokens.
#ifndef INLAY_RUNTIME_SCHEDULE_DRAFTER_H_
#define INLAY_RUNTIME_SCHEDULE_DRAFTER_H_

#include "runtime/schedule/step.h"

namespace inlay {

// A sequence and the maximum number of draft tokens for it.
struct DraftRequest {
  Sequence *sequence = nullptr;
  int32_t most = 0;
};

class Drafter {
public:
  virtual ~Drafter() = default;
  // Sets `drafts` of each sequence to at most `most` tokens. The step has `rows` free rows for the draft tokens of all
  // sequences together; the caller drops those that do not fit.
  virtual void Propose(std::span<const DraftRequest> requests, int32_t rows) = 0;
  // Releases what is kept for the sequence. It is not passed to Propose() again.
  virtual void Forget(const Sequence *sequence) {}
};

// Proposes tokens that followed the same n-gram earlier in the sequence.
class NgramDrafter : public Drafter {
public:
  void Propose(std::span<const DraftRequest> requests, int32_t rows) override {
    for (const DraftRequest &request : requests) {
      Sequence &sequence = *request.sequence;
      std::span<const int32_t> drafts = sequence.ngrams.Propose(sequence.tokens, static_cast<size_t>(request.most));
      sequence.drafts.assign(drafts.begin(), drafts.end());
    }
  }
};

} // namespace inlay

#endif // INLAY_RUNTIME_SCHEDULE_DRAFTER_H_
