// Tracks the items of lists with uniqueItems. A grammar cannot compare items, so the matcher does it.
#ifndef INLAY_RUNTIME_GUIDED_UNIQUE_ITEMS_H_
#define INLAY_RUNTIME_GUIDED_UNIQUE_ITEMS_H_

#include <nlohmann/json.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace inlay::guided {

// Copies share the items, so copying is cheap.
class UniqueItems {
public:
  // Whether no list is open.
  bool empty() const { return lists_.empty(); }
  // Reads a byte of JSON; `open` is the number of open lists after it. Returns false if the byte completes an item that
  // its list already contains (by JSON Schema's equality). The object must not be used afterwards.
  bool Read(char byte, int32_t open);

private:
  struct Item {
    nlohmann::json value;
    std::shared_ptr<const Item> before;
  };
  struct List {
    std::shared_ptr<const Item> last;
    std::string text; // of the current item
    int32_t depth = 0;
    bool in_string = false, is_escaped = false;
  };
  // Returns false for a duplicate item. Sets `ends` if the list ends.
  static bool ReadIn(List &list, char byte, bool &ends);

  std::vector<List> lists_; // outermost first
};

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_UNIQUE_ITEMS_H_
