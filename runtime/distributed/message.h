// Values in the order in which they are written, for messages between processes. The reader checks every length.
#ifndef INLAY_RUNTIME_DISTRIBUTED_MESSAGE_H_
#define INLAY_RUNTIME_DISTRIBUTED_MESSAGE_H_

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace inlay {

class MessageWriter {
public:
  template <class T> void Put(const T &value) {
    static_assert(std::is_trivially_copyable_v<T>);
    text_.append(reinterpret_cast<const char *>(&value), sizeof value);
  }
  // The number of elements, then the elements.
  template <class T> void PutList(std::span<const T> values) {
    static_assert(std::is_trivially_copyable_v<T>);
    Put(static_cast<uint64_t>(values.size()));
    PutBytes(values.data(), values.size_bytes());
  }
  void PutText(std::string_view text) { PutList(std::span<const char>(text)); }
  void PutBytes(const void *bytes, uint64_t size) {
    if (size > 0)
      text_.append(static_cast<const char *>(bytes), size);
  }
  std::string Take() { return std::move(text_); }

private:
  std::string text_;
};

// After a read beyond the end, ok() is false, and all values are zero or empty.
class MessageReader {
public:
  explicit MessageReader(std::string_view text) : text_(text) {}

  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && text_.empty(); }

  template <class T> T Take() {
    static_assert(std::is_trivially_copyable_v<T>);
    T value{};
    TakeBytes(&value, sizeof value);
    return value;
  }
  // A byte that must be 0 or 1.
  bool TakeFlag() {
    const auto value = Take<uint8_t>();
    ok_ = ok_ && value <= 1;
    return ok_ && value == 1;
  }
  template <class T> std::vector<T> TakeList() {
    const auto count = Take<uint64_t>();
    // The elements must be there before memory is allocated for them.
    ok_ = ok_ && count <= text_.size() / sizeof(T);
    std::vector<T> values(ok_ ? count : 0);
    TakeBytes(values.data(), values.size() * sizeof(T));
    return values;
  }
  std::string TakeText() {
    std::vector<char> text = TakeList<char>();
    return {text.begin(), text.end()};
  }
  void TakeBytes(void *to, uint64_t size) {
    ok_ = ok_ && size <= text_.size();
    if (!ok_ || size == 0)
      return;
    std::memcpy(to, text_.data(), size);
    text_.remove_prefix(size);
  }

private:
  std::string_view text_;
  bool ok_ = true;
};

} // namespace inlay

#endif // INLAY_RUNTIME_DISTRIBUTED_MESSAGE_H_
