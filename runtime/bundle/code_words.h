// Codes of 4 bits in words of 32, as AWQ, GPTQ and compressed-tensors store them, without a byte for each code.
#ifndef INLAY_RUNTIME_BUNDLE_CODE_WORDS_H_
#define INLAY_RUNTIME_BUNDLE_CODE_WORDS_H_

#include "absl/status/status.h"
#include "runtime/bundle/source_rows.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

namespace inlay {

inline constexpr uint64_t kCodesOfWord = 8;

// Whether ReadCodeWords() reads rows of this source.
bool HasCodeWords(const SourceRows &rows);

// Reads columns [column, column + columns), multiples of 8, of `count` rows of the matrix from `row` on, in any of the
// layouts of HasCodeWords(): `out` has count x columns / 8 words, with the code of the first column in the lowest bits.
// `read` reads bytes of the tensor.
absl::Status ReadCodeWords(const SourceRows &rows,
                           const std::function<absl::Status(uint64_t offset, std::span<std::byte> out)> &read,
                           uint64_t row, uint64_t count, uint64_t column, uint64_t columns, uint32_t *out);

// Writes row `row` of a unit, 16 words, to the unit that begins at `unit`, in the order codes_16x128 of
// docs/quantization.md.
void PackCodeWords(const uint32_t *words, uint64_t row, std::byte *unit);

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_CODE_WORDS_H_
