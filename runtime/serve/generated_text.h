// Generated text in which the bytes of special tokens are marked. Parsers of answers see these tokens; the content for
// clients does not contain them.
#ifndef INLAY_RUNTIME_SERVE_GENERATED_TEXT_H_
#define INLAY_RUNTIME_SERVE_GENERATED_TEXT_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace inlay::serve {

class GeneratedText {
public:
  GeneratedText() = default;
  // Text of ordinary tokens.
  explicit GeneratedText(std::string_view text) { Append(text, /*is_special=*/false); }

  void Append(std::string_view text, bool is_special) {
    text_ += text;
    special_.append(text.size(), is_special ? '\1' : '\0');
  }
  void Append(const GeneratedText &other) { Append(other, 0, other.size()); }
  // The bytes [begin, end) of `other`.
  void Append(const GeneratedText &other, size_t begin, size_t end) {
    text_.append(other.text_, begin, end - begin);
    special_.append(other.special_, begin, end - begin);
  }
  void Append(GeneratedText &&other) {
    if (empty())
      std::swap(*this, other);
    else
      Append(std::as_const(other));
  }
  void DropFront(size_t count) {
    text_.erase(0, count);
    special_.erase(0, count);
  }

  std::string_view text() const { return text_; }
  bool is_special(size_t at) const { return special_[at] != '\0'; }
  size_t size() const { return text_.size(); }
  bool empty() const { return text_.empty(); }
  char operator[](size_t at) const { return text_[at]; }

  // What remains without the special tokens.
  std::string WithoutSpecials() const {
    std::string plain;
    for (size_t i = 0; i < text_.size(); ++i)
      if (!is_special(i))
        plain += text_[i];
    return plain;
  }

private:
  std::string text_;
  std::string special_; // a byte for each byte of text_: 1 where it belongs to a special token
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_GENERATED_TEXT_H_
