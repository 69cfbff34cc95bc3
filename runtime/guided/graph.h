// A finite automaton over bytes that is part of an expression. It is made of a set of texts or of several conditions on
// one text.
#ifndef INLAY_RUNTIME_GUIDED_GRAPH_H_
#define INLAY_RUNTIME_GUIDED_GRAPH_H_

#include <bitset>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace inlay::guided {

using ByteSet = std::bitset<256>;

// Matching begins at node 0. An accepting node is reachable from every node. A graph without nodes accepts no text.
struct Graph {
  struct Node {
    bool accepts = false;
    std::vector<std::pair<ByteSet, int32_t>> edges; // several edges may have the same byte
  };
  std::vector<Node> nodes;
};

// The minimal acyclic automaton of these texts (Daciuk et al., 2000: incremental construction from sorted words).
Graph GraphOfTexts(std::vector<std::string> texts);

// Removes nodes that are not reachable, and nodes from which no accepting node is reachable.
Graph Pruned(const Graph &graph);

// The same texts as characters of a JSON string: quotation marks, backslashes and control characters with a short
// escape are escaped. Texts with other control characters are dropped.
Graph EscapedForJson(const Graph &graph);

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_GRAPH_H_
