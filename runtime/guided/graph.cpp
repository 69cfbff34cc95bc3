#include "runtime/guided/graph.h"

#include "absl/container/flat_hash_map.h"

#include <algorithm>
#include <array>
#include <map>
#include <string_view>

namespace inlay::guided {
namespace {

// A node on the path of the last text. It may still get children.
struct OpenNode {
  bool accepts = false;
  std::vector<std::pair<uint8_t, int32_t>> children;
};

class TextsBuilder {
public:
  Graph Build(const std::vector<std::string> &texts) {
    path_.push_back({});
    std::string_view last;
    for (const std::string &text : texts) {
      size_t shared = std::mismatch(last.begin(), last.end(), text.begin(), text.end()).first - last.begin();
      CloseTo(shared);
      for (size_t i = shared; i < text.size(); ++i) {
        path_.back().children.push_back({static_cast<uint8_t>(text[i]), -1});
        path_.push_back({});
      }
      path_.back().accepts = true;
      last = text;
    }
    CloseTo(0);
    // The root is finished last, but must be node 0.
    nodes_.push_back(Node(path_[0]));
    int32_t root = static_cast<int32_t>(nodes_.size() - 1);
    std::swap(nodes_[0], nodes_[root]);
    for (Graph::Node &node : nodes_)
      for (auto &[bytes, target] : node.edges)
        target = target == 0 ? root : target;
    return {std::move(nodes_)};
  }

private:
  void CloseTo(size_t depth) {
    while (path_.size() > depth + 1) {
      int32_t id = Register(path_.back());
      path_.pop_back();
      path_.back().children.back().second = id;
    }
  }

  static Graph::Node Node(const OpenNode &open) {
    Graph::Node node{open.accepts, {}};
    std::map<int32_t, size_t> by_target;
    for (auto [byte, target] : open.children) {
      auto [it, inserted] = by_target.try_emplace(target, node.edges.size());
      if (inserted)
        node.edges.push_back({{}, target});
      node.edges[it->second].first.set(byte);
    }
    return node;
  }

  int32_t Register(const OpenNode &open) {
    std::string key(1, open.accepts ? '1' : '0');
    for (auto [byte, target] : open.children) {
      key += static_cast<char>(byte);
      key.append(reinterpret_cast<const char *>(&target), sizeof(target));
    }
    auto [it, inserted] = known_.try_emplace(std::move(key), static_cast<int32_t>(nodes_.size()));
    if (inserted)
      nodes_.push_back(Node(open));
    return it->second;
  }

  std::vector<OpenNode> path_;
  std::vector<Graph::Node> nodes_;
  absl::flat_hash_map<std::string, int32_t> known_;
};

} // namespace

Graph GraphOfTexts(std::vector<std::string> texts) {
  if (texts.empty())
    return {};
  std::sort(texts.begin(), texts.end());
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  return TextsBuilder().Build(texts);
}

Graph Pruned(const Graph &graph) {
  size_t count = graph.nodes.size();
  std::vector<std::vector<int32_t>> sources(count);
  std::vector<int32_t> work;
  std::vector<bool> is_alive(count);
  for (size_t i = 0; i < count; ++i) {
    for (const auto &[bytes, target] : graph.nodes[i].edges)
      sources[target].push_back(static_cast<int32_t>(i));
    if (graph.nodes[i].accepts) {
      is_alive[i] = true;
      work.push_back(static_cast<int32_t>(i));
    }
  }
  while (!work.empty()) {
    int32_t node = work.back();
    work.pop_back();
    for (int32_t source : sources[node])
      if (!is_alive[source]) {
        is_alive[source] = true;
        work.push_back(source);
      }
  }
  Graph result;
  if (count == 0 || !is_alive[0])
    return result;
  std::vector<int32_t> ids(count, -1), order{0};
  ids[0] = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const Graph::Node &from = graph.nodes[order[i]];
    Graph::Node node{from.accepts, {}};
    for (const auto &[bytes, target] : from.edges) {
      if (!is_alive[target] || bytes.none())
        continue;
      if (ids[target] < 0) {
        ids[target] = static_cast<int32_t>(order.size());
        order.push_back(target);
      }
      node.edges.push_back({bytes, ids[target]});
    }
    result.nodes.push_back(std::move(node));
  }
  return result;
}

Graph EscapedForJson(const Graph &graph) {
  constexpr std::array<std::pair<char, char>, 7> letters{
      {{'"', '"'}, {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'}, {'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}}};
  ByteSet plain;
  for (int byte = 0x20; byte < 256; ++byte)
    plain.set(byte, byte != '"' && byte != '\\');
  Graph result;
  result.nodes.resize(graph.nodes.size());
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    result.nodes[i].accepts = graph.nodes[i].accepts;
    for (const auto &[bytes, target] : graph.nodes[i].edges) {
      if ((bytes & plain).any())
        result.nodes[i].edges.push_back({bytes & plain, target});
      ByteSet escapes;
      for (auto [byte, letter] : letters)
        if (bytes[static_cast<uint8_t>(byte)])
          escapes.set(static_cast<uint8_t>(letter));
      if (escapes.none())
        continue;
      result.nodes[i].edges.push_back({ByteSet().set('\\'), static_cast<int32_t>(result.nodes.size())});
      result.nodes.push_back({false, {{escapes, target}}});
    }
  }
  return Pruned(result);
}

} // namespace inlay::guided
