// Guesses what follows a sequence, for a step to verify. What is guessed never shows in the answers: only how many
// steps they take.
#ifndef INLAY_RUNTIME_SCHEDULE_DRAFTER_H_
#define INLAY_RUNTIME_SCHEDULE_DRAFTER_H_

#include "runtime/schedule/step.h"

namespace inlay {

// A sequence that could take so many guesses.
struct DraftWish {
  Sequence *sequence = nullptr;
  int32_t most = 0;
};

class Drafter {
public:
  virtual ~Drafter() = default;
  // Sets `drafts` of each sequence, to at most as many as wished. The step has room for `rows` of them altogether.
  virtual void Propose(std::span<const DraftWish> wishes, int32_t rows) = 0;
  // The sequence will not be seen again.
  virtual void Forget(const Sequence *sequence) {}
};

// From the sequence's own text.
class NgramDrafter : public Drafter {
public:
  void Propose(std::span<const DraftWish> wishes, int32_t rows) override {
    for (const DraftWish &wish : wishes) {
      Sequence &sequence = *wish.sequence;
      std::span<const int32_t> drafts = sequence.ngrams.Propose(sequence.tokens, static_cast<size_t>(wish.most));
      sequence.drafts.assign(drafts.begin(), drafts.end());
    }
  }
};

} // namespace inlay

#endif // INLAY_RUNTIME_SCHEDULE_DRAFTER_H_
