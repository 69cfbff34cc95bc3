#include "runtime/guided/automaton.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <unordered_map>

namespace inlay::guided {
namespace {

using Kind = Expression::Kind;

// Bounded repetitions that would become more states than this are counted instead of copied.
constexpr int64_t kMaxCopiedStates = 64;
constexpr int32_t kMaxEmptyRepetitions = 64;

class Builder {
public:
  Builder(const Rules &rules, const Limits &limits) : rules_(rules), limits_(limits) {}

  absl::StatusOr<Automaton> Build() {
    const auto &named = rules_.rules();
    if (named.size() > static_cast<size_t>(limits_.max_rules))
      return absl::InvalidArgumentError(
          fmt::format("found {} rules, expected at most {} (max_rules); fix: use a smaller grammar", named.size(),
                      limits_.max_rules));
    FindUsers();
    FindProductive();
    FindNullable();
    if (!rule_productive_[0])
      return absl::InvalidArgumentError(fmt::format(
          "the rule '{}' matches no text of finite length; fix: add an alternative that does not use the rule",
          named[0].name));
    if (absl::Status status = RefuseLeftRecursion(); !status.ok())
      return status;
    rule_entry_.assign(named.size(), -1);
    automaton_.start = Entry(0);
    while (!pending_.empty() && status_.ok()) {
      RuleId rule = pending_.back();
      pending_.pop_back();
      int32_t end = NewState({.kind = State::Kind::kReturn, .next = {}});
      automaton_.states[rule_entry_[rule]].next = {Compile(named[rule].body, end)};
    }
    if (!status_.ok())
      return status_;
    ClassifyBytes();
    return std::move(automaton_);
  }

private:
  const Expression &At(ExpressionId id) const { return rules_.expressions()[id]; }

  // Finds the parents of each expression and the calls of each rule.
  void FindUsers() {
    const std::vector<Expression> &expressions = rules_.expressions();
    user_begin_.assign(expressions.size() + 1, 0);
    calls_.assign(rules_.rules().size(), {});
    bodies_.assign(expressions.size(), {});
    for (size_t i = 0; i < expressions.size(); ++i) {
      for (ExpressionId child : expressions[i].children)
        ++user_begin_[child + 1];
      if (expressions[i].kind == Kind::kRule)
        calls_[expressions[i].rule].push_back(static_cast<ExpressionId>(i));
    }
    for (size_t i = 0; i < expressions.size(); ++i)
      user_begin_[i + 1] += user_begin_[i];
    users_.resize(user_begin_.back());
    std::vector<int32_t> at(user_begin_.begin(), user_begin_.end() - 1);
    for (size_t i = 0; i < expressions.size(); ++i)
      for (ExpressionId child : expressions[i].children)
        users_[at[child]++] = static_cast<ExpressionId>(i);
    for (size_t rule = 0; rule < rules_.rules().size(); ++rule)
      bodies_[rules_.rules()[rule].body].push_back(static_cast<RuleId>(rule));
  }

  // Computes the least fixed point of a property of expressions and rules. Children have smaller ids than their
  // parents, so one pass in order of ids decides everything except expressions that depend on rule calls. After that,
  // only the parents of changed expressions are examined again.
  template <typename Decide> void Fix(std::vector<bool> &of_expression, std::vector<bool> &of_rule, Decide decide) {
    of_expression.assign(rules_.expressions().size(), false);
    of_rule.assign(rules_.rules().size(), false);
    std::vector<ExpressionId> work;
    auto look_at = [&](ExpressionId id) {
      if (of_expression[id] || !decide(rules_.expressions()[id]))
        return;
      of_expression[id] = true;
      if (!bodies_[id].empty())
        work.push_back(id);
    };
    auto set_rules = [&](ExpressionId id, std::vector<ExpressionId> &changed) {
      for (RuleId rule : bodies_[id]) {
        of_rule[rule] = true;
        changed.insert(changed.end(), calls_[rule].begin(), calls_[rule].end());
      }
    };
    for (size_t i = 0; i < of_expression.size(); ++i)
      look_at(static_cast<ExpressionId>(i));
    std::vector<ExpressionId> changed;
    for (ExpressionId id : work)
      set_rules(id, changed);
    while (!changed.empty()) {
      ExpressionId id = changed.back();
      changed.pop_back();
      if (of_expression[id] || !decide(rules_.expressions()[id]))
        continue;
      of_expression[id] = true;
      changed.insert(changed.end(), users_.begin() + user_begin_[id], users_.begin() + user_begin_[id + 1]);
      set_rules(id, changed);
    }
  }

  void FindProductive() {
    Fix(productive_, rule_productive_, [&](const Expression &e) {
      auto is = [&](ExpressionId child) { return bool(productive_[child]); };
      switch (e.kind) {
      case Kind::kByte:
        return e.bytes.any();
      case Kind::kSequence:
        return std::all_of(e.children.begin(), e.children.end(), is);
      case Kind::kChoice:
        return std::any_of(e.children.begin(), e.children.end(), is);
      case Kind::kRepeat:
        return e.min == 0 || is(e.children[0]);
      case Kind::kRule:
        return bool(rule_productive_[e.rule]);
      case Kind::kGraph:
        return true;
      }
      return false;
    });
  }

  void FindNullable() {
    Fix(nullable_, rule_nullable_, [&](const Expression &e) {
      auto is = [&](ExpressionId child) { return bool(nullable_[child]); };
      switch (e.kind) {
      case Kind::kByte:
        return false;
      case Kind::kSequence:
        return std::all_of(e.children.begin(), e.children.end(), is);
      case Kind::kChoice:
        return std::any_of(e.children.begin(), e.children.end(), is);
      case Kind::kRepeat:
        return e.min == 0 || e.max == 0 || is(e.children[0]);
      case Kind::kRule:
        return bool(rule_nullable_[e.rule]);
      case Kind::kGraph:
        return rules_.graphs()[e.graph].nodes[0].accepts;
      }
      return false;
    });
  }

  // Appends the rules that a match of `id` may begin with.
  void FirstRules(ExpressionId id, std::vector<RuleId> &out) const {
    std::vector<ExpressionId> work{id};
    while (!work.empty()) {
      const Expression &e = At(work.back());
      work.pop_back();
      if (e.kind == Kind::kRule)
        out.push_back(e.rule);
      for (ExpressionId child : e.children) {
        work.push_back(child);
        if (e.kind == Kind::kSequence && !nullable_[child])
          break;
      }
    }
  }

  absl::Status RefuseLeftRecursion() const {
    size_t count = rules_.rules().size();
    std::vector<std::vector<RuleId>> first(count);
    for (size_t rule = 0; rule < count; ++rule)
      FirstRules(rules_.rules()[rule].body, first[rule]);
    enum Mark : uint8_t { kNew, kOpen, kDone };
    std::vector<Mark> marks(count, kNew);
    for (size_t root = 0; root < count; ++root) {
      std::vector<std::pair<RuleId, size_t>> path;
      if (marks[root] == kNew) {
        path.push_back({static_cast<RuleId>(root), 0});
        marks[root] = kOpen;
      }
      while (!path.empty()) {
        auto &[rule, next] = path.back();
        if (next == first[rule].size()) {
          marks[rule] = kDone;
          path.pop_back();
          continue;
        }
        RuleId callee = first[rule][next++];
        if (marks[callee] == kOpen)
          return absl::InvalidArgumentError(
              fmt::format("the rule '{}' is left-recursive: it can begin with itself; fix: write it with * or +",
                          rules_.rules()[callee].name));
        if (marks[callee] == kNew) {
          marks[callee] = kOpen;
          path.push_back({callee, 0});
        }
      }
    }
    return absl::OkStatus();
  }

  int32_t NewState(State state) {
    if (automaton_.states.size() >= static_cast<size_t>(limits_.max_states)) {
      status_ = absl::InvalidArgumentError(
          fmt::format("found a grammar with more than {} states, expected fewer (max_states); fix: use smaller "
                      "repetitions, enumerations or classes",
                      limits_.max_states));
      return 0;
    }
    automaton_.states.push_back(std::move(state));
    return static_cast<int32_t>(automaton_.states.size() - 1);
  }

  int32_t Entry(RuleId rule) {
    if (rule_entry_[rule] < 0) {
      rule_entry_[rule] = NewState({.kind = State::Kind::kSplit, .next = {}});
      pending_.push_back(rule);
    }
    return rule_entry_[rule];
  }

  int32_t ByteSetId(const ByteSet &bytes) {
    auto [it, inserted] = byte_set_ids_.try_emplace(bytes, static_cast<int32_t>(automaton_.byte_sets.size()));
    if (inserted)
      automaton_.byte_sets.push_back(bytes);
    return it->second;
  }

  // Compiles `id` to states and returns the first one. After a match, matching continues at state `next`.
  int32_t Compile(ExpressionId id, int32_t next) {
    if (!status_.ok())
      return 0;
    const Expression &e = At(id);
    switch (e.kind) {
    case Kind::kByte:
      return NewState({.kind = State::Kind::kByte, .bytes = ByteSetId(e.bytes), .next = {next}});
    case Kind::kSequence:
      for (auto child = e.children.rbegin(); child != e.children.rend(); ++child)
        next = Compile(*child, next);
      return next;
    case Kind::kChoice: {
      State split{.kind = State::Kind::kSplit, .next = {}};
      for (ExpressionId child : e.children)
        if (productive_[child])
          split.next.push_back(Compile(child, next));
      return NewState(std::move(split));
    }
    case Kind::kRepeat:
      return productive_[e.children[0]] ? CompileRepeat(e, next) : next;
    case Kind::kRule:
      return NewState({.kind = State::Kind::kCall, .is_unique = e.is_unique, .next = {Entry(e.rule), next}});
    case Kind::kGraph:
      return CompileGraph(rules_.graphs()[e.graph], next);
    }
    return next;
  }

  int32_t CompileGraph(const Graph &graph, int32_t next) {
    int32_t base = static_cast<int32_t>(automaton_.states.size());
    for (size_t i = 0; i < graph.nodes.size() && status_.ok(); ++i)
      NewState({.kind = State::Kind::kSplit, .next = {}});
    for (size_t i = 0; i < graph.nodes.size() && status_.ok(); ++i) {
      const Graph::Node &node = graph.nodes[i];
      State state{.kind = State::Kind::kSplit, .next = {}};
      for (const auto &[bytes, target] : node.edges) {
        State edge{.kind = State::Kind::kByte, .bytes = ByteSetId(bytes), .next = {base + target}};
        if (node.edges.size() == 1 && !node.accepts)
          state = std::move(edge);
        else
          state.next.push_back(NewState(std::move(edge)));
      }
      if (node.accepts)
        state.next.push_back(next);
      automaton_.states[base + i] = std::move(state);
    }
    return base;
  }

  int32_t CompileRepeat(const Expression &e, int32_t next) {
    ExpressionId body = e.children[0];
    int32_t bound = std::max(e.min, e.max);
    if (bound > limits_.max_repetitions) {
      status_ = absl::InvalidArgumentError(
          fmt::format("found a repetition of {}, expected at most {} (max_repetitions); fix: use a smaller bound",
                      bound, limits_.max_repetitions));
      return 0;
    }
    int32_t min = nullable_[body] ? 0 : e.min;
    if (e.max == kUnbounded && min <= 1) {
      int32_t loop = NewState({.kind = State::Kind::kSplit, .next = {}});
      int32_t begin = Compile(body, loop);
      if (status_.ok())
        automaton_.states[loop].next = {begin, next};
      return min == 0 ? loop : begin;
    }
    if (nullable_[body] && bound > kMaxEmptyRepetitions) {
      status_ = absl::InvalidArgumentError(
          fmt::format("found a repetition of {} whose body may be empty, expected at most {}; fix: write a body that "
                      "is not empty",
                      bound, kMaxEmptyRepetitions));
      return 0;
    }
    if (nullable_[body] || bound * Size(body) <= kMaxCopiedStates || bound <= 1)
      return CompileCopies(body, min, e.max, next);
    int32_t end = NewState({.kind = State::Kind::kReturn, .next = {}});
    int32_t begin = Compile(body, end);
    return NewState({.kind = State::Kind::kRepeat, .next = {begin, next}, .min = min, .max = e.max});
  }

  int32_t CompileCopies(ExpressionId body, int32_t min, int32_t max, int32_t next) {
    int32_t after = next;
    int32_t at = next;
    if (max == kUnbounded) {
      int32_t loop = NewState({.kind = State::Kind::kSplit, .next = {}});
      int32_t begin = Compile(body, loop);
      if (status_.ok())
        automaton_.states[loop].next = {begin, next};
      at = loop;
    }
    for (int32_t i = max == kUnbounded ? min : max; i > 0 && status_.ok(); --i) {
      at = Compile(body, at);
      if (i > min)
        at = NewState({.kind = State::Kind::kSplit, .next = {at, after}});
    }
    return at;
  }

  // The number of states that an expression becomes; the exact value is not computed above kMaxCopiedStates.
  int64_t Size(ExpressionId id) const {
    const Expression &e = At(id);
    if (e.kind == Kind::kRepeat && std::max(e.min, e.max) > kMaxCopiedStates)
      return kMaxCopiedStates + 1;
    if (e.kind == Kind::kGraph)
      return static_cast<int64_t>(rules_.graphs()[e.graph].nodes.size());
    int64_t size = e.kind == Kind::kSequence ? 0 : 1;
    for (ExpressionId child : e.children) {
      size += Size(child);
      if (size > kMaxCopiedStates)
        return size;
    }
    return e.kind == Kind::kRepeat ? size * std::max({e.min, e.max, 1}) : size;
  }

  void ClassifyBytes() {
    std::array<int32_t, 256> group{};
    int32_t groups = 1;
    for (const ByteSet &set : automaton_.byte_sets) {
      std::map<std::pair<int32_t, bool>, int32_t> split;
      for (int byte = 0; byte < 256; ++byte)
        group[byte] = split.try_emplace({group[byte], set[byte]}, static_cast<int32_t>(split.size())).first->second;
      groups = static_cast<int32_t>(split.size());
    }
    automaton_.class_byte.assign(groups, 0);
    for (int byte = 0; byte < 256; ++byte) {
      automaton_.byte_class[byte] = static_cast<uint8_t>(group[byte]);
      automaton_.class_byte[group[byte]] = static_cast<uint8_t>(byte);
    }
  }

  const Rules &rules_;
  const Limits &limits_;
  Automaton automaton_;
  absl::Status status_;
  std::vector<bool> productive_, rule_productive_, nullable_, rule_nullable_;
  std::vector<int32_t> rule_entry_;
  std::vector<RuleId> pending_;
  std::unordered_map<ByteSet, int32_t> byte_set_ids_;
  std::vector<int32_t> user_begin_; // where the parents of each expression begin in users_
  std::vector<ExpressionId> users_;
  std::vector<std::vector<ExpressionId>> calls_; // by rule: the expressions that call it
  std::vector<std::vector<RuleId>> bodies_;      // by expression: the rules that have it as body
};

} // namespace

absl::StatusOr<Automaton> Automaton::Build(const Rules &rules, const Limits &limits) {
  return Builder(rules, limits).Build();
}

} // namespace inlay::guided
