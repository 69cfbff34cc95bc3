#include "runtime/guided/unique_items.h"

#include <algorithm>

namespace inlay::guided {

bool UniqueItems::Read(char byte, int32_t open) {
  bool ends = false;
  for (List &list : lists_)
    if (!ReadIn(list, byte, ends))
      return false;
  // Only the innermost list can end with this byte.
  if (ends)
    lists_.pop_back();
  if (lists_.size() < static_cast<size_t>(open))
    lists_.resize(open);
  return true;
}

bool UniqueItems::ReadIn(List &list, char byte, bool &ends) {
  bool is_end = !list.in_string && list.depth == 0 && (byte == ',' || byte == ']');
  if (!is_end) {
    list.text += byte;
    if (list.in_string) {
      list.in_string = list.is_escaped || byte != '"';
      list.is_escaped = !list.is_escaped && byte == '\\';
    } else if (byte == '"') {
      list.in_string = true;
    } else {
      list.depth += byte == '[' || byte == '{' ? 1 : byte == ']' || byte == '}' ? -1 : 0;
    }
    return true;
  }
  ends = byte == ']';
  nlohmann::json value = nlohmann::json::parse(list.text, nullptr, /*allow_exceptions=*/false);
  list.text.clear();
  if (value.is_discarded()) // no item: the list is empty
    return true;
  for (const Item *item = list.last.get(); item; item = item->before.get())
    if (item->value == value)
      return false;
  list.last = std::make_shared<const Item>(std::move(value), list.last);
  return true;
}

} // namespace inlay::guided
