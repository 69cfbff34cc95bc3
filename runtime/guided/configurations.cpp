#include "runtime/guided/configurations.h"

#include <fmt/format.h>

#include <algorithm>

namespace inlay::guided {

namespace {
constexpr int32_t kRoot = 0; // the bottom of all stacks: returning to it completes the text
constexpr size_t kFrameBytes = 96;
constexpr size_t kStepsOfReading = 8; // states visited between two bytes, per configuration
} // namespace

Configurations::Configurations(const Automaton &automaton, const Limits &limits, int32_t max_token_bytes)
    : automaton_(automaton), limits_(limits), max_token_bytes_(max_token_bytes), classes_(automaton.class_byte.size()) {
  frames_.push_back({});
  InternSet({}, false);
  std::fill(transitions_.begin(), transitions_.end(), kDead);
}

int32_t Configurations::InternFrame(int32_t state, int32_t count, int32_t parent) {
  auto [it, inserted] = frame_ids_.try_emplace({{state, count}, parent}, static_cast<int32_t>(frames_.size()));
  if (!inserted)
    return it->second;
  Frame frame{state,
              count,
              parent,
              frames_[parent].depth + 1,
              frames_[parent].unique_lists + automaton_.states[state].is_unique,
              0};
  if (frame.depth > limits_.max_stack_depth) {
    frame_ids_.erase(it);
    depth_was_met_ = true;
    return -1;
  }
  const State &at = automaton_.states[state];
  int32_t far = max_token_bytes_ + 1;
  int32_t to_min = std::clamp(at.min - count, 0, far);
  int32_t to_max = at.max == kUnbounded ? far : std::clamp(at.max - count, 0, far);
  frame.key =
      frame_keys_
          .try_emplace({{state, frames_[parent].key}, {to_min, to_max}}, static_cast<int32_t>(frame_keys_.size() + 1))
          .first->second;
  frames_.push_back(frame);
  bytes_ += kFrameBytes;
  return it->second;
}

Configurations::SetId Configurations::InternSet(std::vector<Configuration> configurations, bool can_end) {
  std::vector<Configuration> keys;
  int32_t unique_lists = 0;
  for (auto [state, frame] : configurations) {
    keys.push_back({state, frames_[frame].key});
    unique_lists = std::max(unique_lists, frames_[frame].unique_lists);
  }
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  std::sort(configurations.begin(), configurations.end());
  size_t size = configurations.size();
  auto [it, inserted] = set_ids_.try_emplace({std::move(configurations), can_end}, static_cast<SetId>(sets_.size()));
  if (!inserted)
    return it->second;
  int32_t key =
      mask_keys_.try_emplace({std::move(keys), can_end}, static_cast<int32_t>(mask_keys_.size())).first->second;
  sets_.push_back({&it->first.first, can_end, key, unique_lists});
  transitions_.resize(sets_.size() * classes_, kUnknown);
  bytes_ += classes_ * sizeof(SetId) + size * 2 * sizeof(Configuration) + 160;
  return it->second;
}

absl::StatusOr<Configurations::SetId> Configurations::Close(std::vector<Configuration> work) {
  std::vector<Configuration> result;
  bool can_end = false;
  seen_.clear();
  auto add = [&](int32_t state, int32_t frame) {
    if (frame >= 0 && seen_.insert({state, frame}).second)
      work.push_back({state, frame});
  };
  std::vector<Configuration> begin = std::move(work);
  work.clear();
  for (auto [state, frame] : begin)
    add(state, frame);
  while (!work.empty()) {
    if (result.size() > static_cast<size_t>(limits_.max_configurations) ||
        seen_.size() > static_cast<size_t>(limits_.max_configurations) * kStepsOfReading)
      return absl::ResourceExhaustedError(
          fmt::format("guided decoding: found a text that the grammar can parse in more than {} ways "
                      "(max_configurations), expected fewer; fix: use a less ambiguous grammar",
                      limits_.max_configurations));
    auto [at, frame] = work.back();
    work.pop_back();
    const State &state = automaton_.states[at];
    switch (state.kind) {
    case State::Kind::kByte:
      result.push_back({at, frame});
      break;
    case State::Kind::kSplit:
      for (int32_t next : state.next)
        add(next, frame);
      break;
    case State::Kind::kCall:
      // A tail call pushes no frame. Otherwise lists that are written with recursion would grow the stack.
      add(state.next[0], automaton_.states[state.next[1]].kind == State::Kind::kReturn && !state.is_unique
                             ? frame
                             : InternFrame(at, 0, frame));
      break;
    case State::Kind::kRepeat:
      if (state.min == 0)
        add(state.next[1], frame);
      add(state.next[0], InternFrame(at, 0, frame));
      break;
    case State::Kind::kReturn: {
      if (frame == kRoot) {
        can_end = true;
        break;
      }
      Frame open = frames_[frame];
      const State &caller = automaton_.states[open.state];
      if (caller.kind == State::Kind::kCall) {
        add(caller.next[1], open.parent);
        break;
      }
      int32_t count = open.count + 1;
      if (count >= caller.min)
        add(caller.next[1], open.parent);
      if (caller.max == kUnbounded)
        add(caller.next[0], InternFrame(open.state, std::min(count, caller.min), open.parent));
      else if (count < caller.max)
        add(caller.next[0], InternFrame(open.state, count, open.parent));
      break;
    }
    }
  }
  if (bytes_ > limits_.max_cache_bytes)
    return absl::ResourceExhaustedError(
        fmt::format("guided decoding: found a grammar whose states need more than {} bytes (max_cache_bytes), expected "
                    "fewer; fix: use a less ambiguous grammar",
                    limits_.max_cache_bytes));
  return InternSet(std::move(result), can_end);
}

absl::StatusOr<Configurations::SetId> Configurations::Start() { return Close({{automaton_.start, kRoot}}); }

absl::StatusOr<Configurations::SetId> Configurations::ComputeStep(SetId set, uint8_t byte_class) {
  uint8_t byte = automaton_.class_byte[byte_class];
  std::vector<Configuration> next;
  for (auto [state, frame] : *sets_[set].configurations)
    if (automaton_.byte_sets[automaton_.states[state].bytes][byte])
      next.push_back({automaton_.states[state].next[0], frame});
  SetId result = kDead;
  if (!next.empty()) {
    absl::StatusOr<SetId> closed = Close(std::move(next));
    if (!closed.ok())
      return closed.status();
    result = *closed;
  }
  return transitions_[static_cast<size_t>(set) * classes_ + byte_class] = result;
}

absl::StatusOr<Configurations::SetId> Configurations::Import(const Configurations &other, SetId set) {
  std::vector<Configuration> configurations;
  absl::flat_hash_map<int32_t, int32_t> known{{kRoot, kRoot}};
  for (auto [state, frame] : *other.sets_[set].configurations) {
    std::vector<int32_t> chain;
    for (int32_t f = frame; !known.contains(f); f = other.frames_[f].parent)
      chain.push_back(f);
    for (auto f = chain.rbegin(); f != chain.rend(); ++f) {
      const Frame &from = other.frames_[*f];
      known[*f] = InternFrame(from.state, from.count, known[from.parent]);
    }
    configurations.push_back({state, known[frame]});
  }
  return InternSet(std::move(configurations), other.sets_[set].can_end);
}

} // namespace inlay::guided
