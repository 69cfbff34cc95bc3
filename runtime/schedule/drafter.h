// Proposes draft tokens that a step verifies. Drafts change the number of steps of an answer, never its tokens.
#ifndef INLAY_RUNTIME_SCHEDULE_DRAFTER_H_
#define INLAY_RUNTIME_SCHEDULE_DRAFTER_H_

#include "runtime/schedule/step.h"

namespace inlay {

// A sequence and the most draft tokens that it can take.
struct DraftRequest {
  Sequence *sequence = nullptr;
  int32_t most = 0;
};

class Drafter {
public:
  virtual ~Drafter() = default;
  // Sets `drafts` of each sequence, to at most as many as requested. The step has room for `rows` of them altogether.
  virtual void Propose(std::span<const DraftRequest> requests, int32_t rows) = 0;
  // The sequence will not be seen again.
  virtual void Forget(const Sequence *sequence) {}
};

// From the sequence's own text.
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
