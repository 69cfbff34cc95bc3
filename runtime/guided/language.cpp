#include "runtime/guided/language.h"

#include "absl/container/flat_hash_map.h"
#include "runtime/guided/automaton.h"
#include "runtime/guided/configurations.h"
#include "runtime/guided/regex.h"

#include <algorithm>
#include <map>

namespace inlay::guided {
namespace {

// Makes an automaton deterministic lazily: states are computed when they are reached.
class AutomatonMachine : public Machine {
public:
  AutomatonMachine(Automaton automaton, bool is_negated, const Limits &limits)
      : automaton_(std::move(automaton)), limits_(limits), is_negated_(is_negated),
        configurations_(automaton_, limits_, 1) {}

  absl::StatusOr<int32_t> Start() override {
    absl::StatusOr<int32_t> start = configurations_.Start();
    return start.ok() ? Step(*start, static_cast<uint8_t>(kTextBegin)) : start;
  }

  absl::StatusOr<int32_t> Step(int32_t state, uint8_t byte) override {
    absl::StatusOr<int32_t> next = configurations_.Step(state, automaton_.byte_class[byte]);
    if (!next.ok())
      return absl::InvalidArgumentError(next.status().message());
    return *next == Configurations::kDead && !is_negated_ ? kDead : *next;
  }

  absl::StatusOr<bool> Accepts(int32_t state) override {
    absl::StatusOr<int32_t> end = configurations_.Step(state, automaton_.byte_class[static_cast<uint8_t>(kTextEnd)]);
    if (!end.ok())
      return absl::InvalidArgumentError(end.status().message());
    return configurations_.CanEnd(*end) != is_negated_;
  }

  uint8_t ClassOf(uint8_t byte) const override { return automaton_.byte_class[byte]; }

private:
  const Automaton automaton_;
  const Limits limits_;
  const bool is_negated_;
  Configurations configurations_;
};

class LengthCounter : public Machine {
public:
  LengthCounter(int32_t min, int32_t max) : min_(min), max_(max) {}
  absl::StatusOr<int32_t> Start() override { return 0; }
  absl::StatusOr<int32_t> Step(int32_t state, uint8_t byte) override {
    if (ClassOf(byte) == 0)
      return state;
    if (max_ != kUnbounded)
      return state < max_ ? state + 1 : kDead;
    return std::min(state + 1, min_);
  }
  absl::StatusOr<bool> Accepts(int32_t state) override { return state >= min_; }
  uint8_t ClassOf(uint8_t byte) const override { return byte >> 6 == 2 ? 0 : 1; }

private:
  const int32_t min_, max_;
};

// Accepts -?digits(.digits)? that is a multiple of s / 10^d: the number made of the digits before the point and the
// first d decimals is divisible by s, and all further decimals are 0.
class MultipleReader : public Machine {
public:
  MultipleReader(int64_t step, int32_t decimals, bool is_negated)
      : step_(step), decimals_(decimals), is_negated_(is_negated) {}

  absl::StatusOr<int32_t> Start() override { return kAtStart; }

  absl::StatusOr<int32_t> Step(int32_t state, uint8_t byte) override {
    if (byte == '-')
      return state == kAtStart ? Id(0, 0) : kDead;
    if (byte == '.')
      return state == kAtStart || state == kBroken || places_[state - kFirst].second != 0
                 ? kDead
                 : Id(places_[state - kFirst].first, 1);
    if (byte < '0' || byte > '9')
      return kDead;
    if (state == kBroken)
      return kBroken;
    auto [rest, place] = state == kAtStart ? std::pair<int64_t, int32_t>(0, 0) : places_[state - kFirst];
    if (place > decimals_) // a decimal after the first d
      return byte == '0' ? state : kBroken;
    return Id((rest * 10 + (byte - '0')) % step_, place == 0 ? 0 : place + 1);
  }

  absl::StatusOr<bool> Accepts(int32_t state) override {
    if (state == kAtStart)
      return false;
    if (state == kBroken)
      return is_negated_;
    auto [rest, place] = places_[state - kFirst];
    for (int32_t i = std::max(place, 1); i <= decimals_; ++i)
      rest = rest * 10 % step_;
    return (rest == 0) != is_negated_;
  }

  uint8_t ClassOf(uint8_t byte) const override {
    return byte >= '0' && byte <= '9' ? byte - '0' : byte == '-' ? 10 : byte == '.' ? 11 : 12;
  }

private:
  static constexpr int32_t kAtStart = 0, kBroken = 1, kFirst = 2;

  // `rest`: the remainder so far. `place`: 0 before the point, else the 1-based index of the next decimal.
  int32_t Id(int64_t rest, int32_t place) {
    auto [it, inserted] = ids_.try_emplace({rest, place}, kFirst + static_cast<int32_t>(places_.size()));
    if (inserted)
      places_.push_back({rest, place});
    return it->second;
  }

  const int64_t step_;
  const int32_t decimals_;
  const bool is_negated_;
  std::vector<std::pair<int64_t, int32_t>> places_;
  absl::flat_hash_map<std::pair<int64_t, int32_t>, int32_t> ids_;
};

absl::StatusOr<MachinePointer> MachineOf(const Rules &rules, bool is_negated, const Limits &limits) {
  absl::StatusOr<Automaton> automaton = Automaton::Build(rules, limits);
  if (!automaton.ok())
    return automaton.status();
  return std::make_unique<AutomatonMachine>(*std::move(automaton), is_negated, limits);
}

} // namespace

absl::StatusOr<MachinePointer> TextMachine(const std::function<ExpressionId(Rules &)> &body, bool is_negated,
                                           const Limits &limits) {
  Rules rules;
  rules.AddRule("text");
  ExpressionId begin = rules.Literal(std::string(1, kTextBegin)), text = body(rules);
  rules.SetBody(0, rules.Sequence({begin, text, rules.Literal(std::string(1, kTextEnd))}));
  return MachineOf(rules, is_negated, limits);
}

absl::StatusOr<MachinePointer> PatternMachine(std::string_view pattern, bool is_negated, const Limits &limits) {
  Rules rules;
  rules.AddRule("pattern");
  absl::StatusOr<ParsedRegex> parsed =
      ParseRegex(pattern, limits, rules, [&](const CodePointSet &set) { return rules.Characters(set); },
                 {.syntax = RegexSyntax::kEcma, .is_negated = is_negated, .anchors_are_bytes = true});
  if (!parsed.ok())
    return parsed.status();
  // The begin and end marks are read by the anchors of the pattern, or else together with the text around the match.
  ExpressionId any = rules.Repeat(rules.Characters(CodePointSet::All()), 0, kUnbounded);
  ExpressionId before = rules.Optional(rules.Sequence({rules.Literal(std::string(1, kTextBegin)), any}));
  ExpressionId behind = rules.Optional(rules.Sequence({any, rules.Literal(std::string(1, kTextEnd))}));
  rules.SetBody(0, rules.Sequence({before, parsed->body, behind}));
  return MachineOf(rules, is_negated, limits);
}

std::vector<SimplePattern> WithoutLookAhead(const std::string &pattern) {
  // Returns the position of the ')' of the first group at or after `begin`, or npos. Sets `bars` if there is a '|'
  // outside of groups.
  auto scan = [&](size_t begin, bool &bars) {
    int depth = 0;
    bool in_class = false;
    for (size_t i = begin; i < pattern.size(); ++i) {
      if (pattern[i] == '\\') {
        ++i;
      } else if (in_class) {
        in_class = pattern[i] != ']';
      } else if (pattern[i] == '[') {
        in_class = true;
      } else if (pattern[i] == '(') {
        ++depth;
      } else if (pattern[i] == ')' && --depth == 0) {
        return i;
      } else if (pattern[i] == '|' && depth == 0) {
        bars = true;
      }
    }
    return std::string::npos;
  };
  std::vector<SimplePattern> parts;
  size_t at = 1;
  while (pattern.rfind('^', 0) == 0 && (pattern.compare(at, 3, "(?!") == 0 || pattern.compare(at, 3, "(?=") == 0)) {
    bool bars = false;
    size_t end = scan(at, bars);
    if (end == std::string::npos)
      return {{pattern}};
    parts.push_back({"^(?:" + pattern.substr(at + 3, end - at - 3) + ")", pattern[at + 2] == '!'});
    at = end + 1;
  }
  std::string rest = pattern.substr(std::min(at, pattern.size()));
  bool bars = false;
  for (size_t from = at; from < pattern.size() && !bars;) {
    size_t end = scan(from, bars);
    from = end == std::string::npos ? end : end + 1;
  }
  if (parts.empty() || bars)
    return {{pattern}};
  parts.push_back({"^(?:" + rest + ")"});
  return parts;
}

MachinePointer LengthMachine(int32_t min, int32_t max) { return std::make_unique<LengthCounter>(min, max); }

MachinePointer MultipleMachine(int64_t step, int32_t decimals, bool is_negated) {
  return std::make_unique<MultipleReader>(step, decimals, is_negated);
}

absl::StatusOr<Graph> Intersect(std::span<const MachinePointer> machines, const Limits &limits, Work &work) {
  // Bytes that have the same class in all machines are handled together. Larger bytes do not occur in UTF-8; kTextBegin
  // and kTextEnd are not part of the text.
  std::map<std::vector<uint8_t>, size_t> class_ids;
  std::vector<ByteSet> classes;
  for (int byte = 0; byte < 0xF8; ++byte) {
    std::vector<uint8_t> key;
    for (const MachinePointer &machine : machines)
      key.push_back(machine->ClassOf(static_cast<uint8_t>(byte)));
    auto [it, inserted] = class_ids.try_emplace(std::move(key), classes.size());
    if (inserted)
      classes.emplace_back();
    classes[it->second].set(byte);
  }
  std::vector<uint8_t> byte_of;
  for (const ByteSet &set : classes)
    byte_of.push_back(static_cast<uint8_t>(set._Find_first()));
  absl::flat_hash_map<std::vector<int32_t>, int32_t> ids;
  std::vector<std::vector<int32_t>> states(1);
  for (const MachinePointer &machine : machines) {
    absl::StatusOr<int32_t> start = machine->Start();
    if (!start.ok())
      return start.status();
    if (*start == Machine::kDead)
      return Graph{};
    states[0].push_back(*start);
  }
  ids[states[0]] = 0;
  Graph graph;
  for (size_t i = 0; i < states.size(); ++i) {
    if (absl::Status status = work.Check(); !status.ok())
      return status;
    if (states.size() > static_cast<size_t>(limits.max_pattern_states))
      return absl::InvalidArgumentError(
          fmt::format("found conditions that together need more than {} states (max_pattern_states), expected fewer; "
                      "fix: use simpler patterns or smaller bounds",
                      limits.max_pattern_states));
    Graph::Node node{.accepts = true, .edges = {}};
    for (size_t m = 0; m < machines.size() && node.accepts; ++m) {
      absl::StatusOr<bool> accepts = machines[m]->Accepts(states[i][m]);
      if (!accepts.ok())
        return accepts.status();
      node.accepts = *accepts;
    }
    std::map<int32_t, ByteSet> edges;
    for (size_t c = 0; c < classes.size(); ++c) {
      std::vector<int32_t> next;
      for (size_t m = 0; m < machines.size(); ++m) {
        absl::StatusOr<int32_t> step = machines[m]->Step(states[i][m], byte_of[c]);
        if (!step.ok())
          return step.status();
        if (*step == Machine::kDead)
          break;
        next.push_back(*step);
      }
      if (next.size() < machines.size())
        continue;
      auto [it, inserted] = ids.try_emplace(next, static_cast<int32_t>(states.size()));
      if (inserted)
        states.push_back(std::move(next));
      edges[it->second] |= classes[c];
    }
    for (const auto &[target, bytes] : edges)
      node.edges.push_back({bytes, target});
    graph.nodes.push_back(std::move(node));
  }
  return Pruned(graph);
}

absl::StatusOr<bool> Reads(Machine &machine, std::string_view text) {
  absl::StatusOr<int32_t> state = machine.Start();
  for (char byte : text) {
    if (!state.ok() || *state == Machine::kDead)
      break;
    state = machine.Step(*state, static_cast<uint8_t>(byte));
  }
  if (!state.ok())
    return state.status();
  return *state == Machine::kDead ? false : machine.Accepts(*state);
}

} // namespace inlay::guided
