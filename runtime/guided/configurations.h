// The states of an automaton after a text: the set of all its configurations, each a state and a stack of open calls
// and repetitions. Equal sets have one id and stacks share their tails, so that the step from a set by a byte is
// computed once.
//
// Each set has a mask key. Two sets with the same key accept the same tokens, because their differences cannot matter
// within the length of the longest token: repetition counts that are further than that from both bounds are considered
// equal. So masks are reused inside a long string of bounded length.
#ifndef INLAY_RUNTIME_GUIDED_CONFIGURATIONS_H_
#define INLAY_RUNTIME_GUIDED_CONFIGURATIONS_H_

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/node_hash_map.h"
#include "absl/status/statusor.h"
#include "runtime/guided/automaton.h"

#include <span>
#include <utility>
#include <vector>

namespace inlay::guided {

class Configurations {
public:
  using SetId = int32_t;
  static constexpr SetId kDead = 0; // the empty set

  Configurations(const Automaton &automaton, const Limits &limits, int32_t max_token_bytes);

  absl::StatusOr<SetId> Start();
  // The set after a byte of `byte_class`. ResourceExhausted, with the name of the limit, if it is too large.
  absl::StatusOr<SetId> Step(SetId set, uint8_t byte_class) {
    SetId next = transitions_[static_cast<size_t>(set) * classes_ + byte_class];
    return next != kUnknown ? absl::StatusOr<SetId>(next) : ComputeStep(set, byte_class);
  }
  // The result of Step() if it was computed before, else kUnknown.
  static constexpr SetId kUnknown = -1;
  SetId KnownStep(SetId set, uint8_t byte_class) const {
    return transitions_[static_cast<size_t>(set) * classes_ + byte_class];
  }

  bool CanEnd(SetId set) const { return sets_[set].can_end; }
  // The number of open lists with uniqueItems.
  int32_t UniqueLists(SetId set) const { return sets_[set].unique_lists; }
  int32_t MaskKey(SetId set) const { return sets_[set].mask_key; }
  // Whether a configuration was dropped because its stack was deeper than max_stack_depth.
  bool depth_was_met() const { return depth_was_met_; }
  size_t bytes() const { return bytes_; }

  // Copies a set of another object for the same automaton.
  absl::StatusOr<SetId> Import(const Configurations &other, SetId set);

private:
  using Configuration = std::pair<int32_t, int32_t>; // state, frame
  struct Frame {
    int32_t state = 0, count = 0, parent = 0, depth = 0;
    int32_t unique_lists = 0;
    int32_t key = 0; // equal for frames that the next token cannot distinguish
  };
  struct Set {
    const std::vector<Configuration> *configurations;
    bool can_end = false;
    int32_t mask_key = 0;
    int32_t unique_lists = 0;
  };

  int32_t InternFrame(int32_t state, int32_t count, int32_t parent); // -1: too deep
  absl::StatusOr<SetId> ComputeStep(SetId set, uint8_t byte_class);
  absl::StatusOr<SetId> Close(std::vector<Configuration> work);
  SetId InternSet(std::vector<Configuration> configurations, bool can_end);

  const Automaton &automaton_;
  const Limits &limits_;
  const int32_t max_token_bytes_;
  const size_t classes_;
  std::vector<Frame> frames_;
  std::vector<Set> sets_;
  std::vector<SetId> transitions_; // by set and byte class
  absl::flat_hash_map<std::pair<std::pair<int32_t, int32_t>, int32_t>, int32_t> frame_ids_;
  absl::flat_hash_map<std::pair<std::pair<int32_t, int32_t>, std::pair<int32_t, int32_t>>, int32_t> frame_keys_;
  absl::node_hash_map<std::pair<std::vector<Configuration>, bool>, SetId> set_ids_;
  absl::flat_hash_map<std::pair<std::vector<Configuration>, bool>, int32_t> mask_keys_;
  absl::flat_hash_set<Configuration> seen_;
  bool depth_was_met_ = false;
  size_t bytes_ = 0;
};

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_CONFIGURATIONS_H_
