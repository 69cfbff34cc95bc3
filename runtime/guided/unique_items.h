// Tracks the items of lists with uniqueItems. A grammar cannot remember them, so the matcher does.
#ifndef INLAY_RUNTIME_GUIDED_UNIQUE_ITEMS_H_
#define INLAY_RUNTIME_GUIDED_UNIQUE_ITEMS_H_

#include <nlohmann/json.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace inlay::guided {

// Copies share the items, so that a copy is cheap.
class UniqueItems {
public:
  // No list is open.
  bool empty() const { return lists_.empty(); }
  // Reads a byte of JSON behind which `open` lists are open. False, and it must not be used any more, if an item ends
  // that its list has already, as JSON Schema compares values.
  bool Read(char byte, int32_t open);

private:
  struct Item {
    nlohmann::json value;
    std::shared_ptr<const Item> before;
  };
  struct List {
    std::shared_ptr<const Item> last;
    std::string text; // of the item at hand
    int32_t depth = 0;
    bool in_string = false, is_escaped = false;
  };
  // False for an item that is there already; `ends`: the list does too.
  static bool ReadIn(List &list, char byte, bool &ends);

  std::vector<List> lists_; // each inside the one before it
};

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_UNIQUE_ITEMS_H_
