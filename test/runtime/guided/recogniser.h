// A recogniser that shares no code with the automaton: it tries all ways to match a text against the expressions.
#ifndef INLAY_TEST_RUNTIME_GUIDED_RECOGNISER_H_
#define INLAY_TEST_RUNTIME_GUIDED_RECOGNISER_H_

#include "runtime/guided/expression.h"

#include <map>
#include <set>
#include <string>

namespace inlay::guided {

class Recogniser {
public:
  Recogniser(const Rules &rules, std::string text) : rules_(rules), text_(std::move(text)) {
    ends_ = Ends(rules_.rules()[0].body, 0);
  }
  bool Matches() const { return ends_.contains(text_.size()); }
  // Whether the text could match after more text is appended.
  bool IsPrefix() const { return Matches() || wanted_more_; }

private:
  std::set<size_t> Ends(ExpressionId id, size_t at) {
    auto [it, inserted] = known_.try_emplace({id, at});
    if (inserted) {
      std::set<size_t> ends = Compute(id, at);
      known_[{id, at}] = ends;
      return ends;
    }
    return it->second;
  }

  std::set<size_t> Compute(ExpressionId id, size_t at) {
    const Expression &e = rules_.expressions()[id];
    switch (e.kind) {
    case Expression::Kind::kByte:
      wanted_more_ |= at == text_.size();
      return at < text_.size() && e.bytes[static_cast<uint8_t>(text_[at])] ? std::set<size_t>{at + 1}
                                                                           : std::set<size_t>{};
    case Expression::Kind::kSequence: {
      std::set<size_t> places{at};
      for (ExpressionId child : e.children)
        places = After(child, places);
      return places;
    }
    case Expression::Kind::kChoice: {
      std::set<size_t> places;
      for (ExpressionId child : e.children)
        places.merge(Ends(child, at));
      return places;
    }
    case Expression::Kind::kRepeat: {
      std::set<size_t> places{at}, result, seen;
      for (int32_t count = 0; !places.empty(); ++count) {
        if (count >= e.min)
          result.insert(places.begin(), places.end());
        if (count == e.max || (count > e.min && !IsNew(places, seen)))
          break;
        places = After(e.children[0], places);
      }
      return result;
    }
    case Expression::Kind::kRule:
      return Ends(rules_.rules()[e.rule].body, at);
    case Expression::Kind::kGraph:
      return GraphEnds(rules_.graphs()[e.graph], at);
    }
    return {};
  }

  std::set<size_t> GraphEnds(const Graph &graph, size_t at) {
    std::set<size_t> result;
    std::set<int32_t> nodes{0};
    for (; !nodes.empty(); ++at) {
      std::set<int32_t> next;
      for (int32_t node : nodes) {
        if (graph.nodes[node].accepts)
          result.insert(at);
        wanted_more_ |= at == text_.size() && !graph.nodes[node].edges.empty();
        for (const auto &[bytes, target] : graph.nodes[node].edges)
          if (at < text_.size() && bytes[static_cast<uint8_t>(text_[at])])
            next.insert(target);
      }
      nodes = std::move(next);
    }
    return result;
  }

  std::set<size_t> After(ExpressionId id, const std::set<size_t> &places) {
    std::set<size_t> result;
    for (size_t place : places)
      result.merge(Ends(id, place));
    return result;
  }

  static bool IsNew(const std::set<size_t> &places, std::set<size_t> &seen) {
    size_t before = seen.size();
    seen.insert(places.begin(), places.end());
    return seen.size() > before;
  }

  const Rules &rules_;
  std::string text_;
  std::map<std::pair<ExpressionId, size_t>, std::set<size_t>> known_;
  std::set<size_t> ends_;
  bool wanted_more_ = false;
};

} // namespace inlay::guided

#endif // INLAY_TEST_RUNTIME_GUIDED_RECOGNISER_H_
