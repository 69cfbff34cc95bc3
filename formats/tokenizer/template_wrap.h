// Line breaking for the filter wordwrap.
#ifndef INLAY_FORMATS_TOKENIZER_TEMPLATE_WRAP_H_
#define INLAY_FORMATS_TOKENIZER_TEMPLATE_WRAP_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace inlay::tokenizer {

// Python's textwrap.wrap with expand_tabs and replace_whitespace off. Returns lines of at most `width` characters,
// without the white space at the breaks. `width` must be at least 1.
std::vector<std::string> WrapText(std::string_view text, int64_t width, bool break_long_words, bool break_on_hyphens);

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_TEMPLATE_WRAP_H_
