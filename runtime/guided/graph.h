// A finite automaton over bytes inside an expression: the result of a set of texts, or of several conditions on one
// text.
#ifndef INLAY_RUNTIME_GUIDED_GRAPH_H_
#define INLAY_RUNTIME_GUIDED_GRAPH_H_

#include <bitset>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace inlay::guided {

using ByteSet = std::bitset<256>;

// Reading begins at node 0. From every node an accepting one can be reached. No nodes: no text is read.
struct Graph {
  struct Node {
    bool accepts = false;
    std::vector<std::pair<ByteSet, int32_t>> edges; // several may take the same byte
  };
  std::vector<Node> nodes;
};

// The smallest acyclic automaton of these texts (Daciuk et al., 2000: incremental construction from sorted words).
Graph GraphOfTexts(std::vector<std::string> texts);

// Leaves out the nodes that cannot be reached, or from which no accepting one can.
Graph Pruned(const Graph &graph);

// The same texts as characters of a JSON string: quotation mark, backslash and the control characters that have a short
// escape are written as escapes; texts with other control characters are left out.
Graph EscapedForJson(const Graph &graph);

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_GRAPH_H_
