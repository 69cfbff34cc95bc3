#include "runtime/bundle/code_words.h"

#include <array>
#include <cstring>
#include <utility>
#include <vector>

namespace inlay {
namespace {

using Words = std::array<uint32_t, kCodesOfWord>;

// Exchanges the bits of `mask` of b with the same bits of a, `shift` higher.
void Exchange(uint32_t &a, uint32_t &b, int shift, uint32_t mask) {
  uint32_t difference = (a >> shift ^ b) & mask;
  b ^= difference;
  a ^= difference << shift;
}

// Field f of word w becomes field w of word f: quarters of the square of 8 x 8 fields are exchanged, then quarters of
// these (Warren, Hacker's Delight, 7-3).
void Transpose(Words &words) {
  for (size_t w = 0; w < 4; ++w)
    Exchange(words[w], words[w + 4], 16, 0x0000ffff);
  for (size_t w : {0, 1, 4, 5})
    Exchange(words[w], words[w + 2], 8, 0x00ff00ff);
  for (size_t w : {0, 2, 4, 6})
    Exchange(words[w], words[w + 1], 4, 0x0f0f0f0f);
}

} // namespace

bool HasCodeWords(const SourceRows &rows) {
  const WordFields &fields = rows.fields();
  bool is_known = rows.is_transposed() ? fields.along_rows || fields.order == plan::FieldOrder_Plain
                                       : !fields.along_rows && fields.order == plan::FieldOrder_Plain;
  return is_known && fields.bits == 4 && fields.word_bits == 32 && !fields.are_floats && rows.repeat() == 1 &&
         !rows.scale() && !rows.quantizer() && !rows.column_order();
}

absl::Status ReadCodeWords(const SourceRows &rows,
                           const std::function<absl::Status(uint64_t offset, std::span<std::byte> out)> &read,
                           uint64_t row, uint64_t count, uint64_t column, uint64_t columns, uint32_t *out) {
  const uint64_t pitch = rows.tensor_columns(), width = columns / kCodesOfWord;
  auto read_words = [&](uint64_t first, uint32_t *to, uint64_t words) {
    return read(first * sizeof *to, std::as_writable_bytes(std::span(to, words)));
  };
  if (!rows.is_transposed()) {
    // Rows of all columns are neighbours.
    const uint64_t reads = width == pitch ? 1 : count, words = count * width / reads;
    for (uint64_t i = 0; i < reads; ++i, out += words)
      if (absl::Status status = read_words((row + i) * pitch + column / kCodesOfWord, out, words); !status.ok())
        return status;
    return absl::OkStatus();
  }
  // Lines of the tensor: of the words of each row, or of words of 8 rows.
  const bool along_rows = rows.fields().along_rows;
  const uint64_t first = along_rows ? row / kCodesOfWord : row,
                 first_line = along_rows ? column : column / kCodesOfWord;
  const uint64_t words = along_rows ? (row + count - 1) / kCodesOfWord + 1 - first : count;
  const uint64_t line_count = along_rows ? columns : width;
  std::vector<uint32_t> lines(line_count * words);
  for (uint64_t i = 0; i < line_count; ++i)
    if (absl::Status status = read_words((first_line + i) * pitch + first, &lines[i * words], words); !status.ok())
      return status;
  if (!along_rows) {
    for (uint64_t r = 0; r < count; ++r)
      for (uint64_t i = 0; i < width; ++i)
        out[r * width + i] = lines[i * words + r];
    return absl::OkStatus();
  }
  std::array<uint64_t, kCodesOfWord> field_of;
  for (uint32_t i = 0; i < field_of.size(); ++i)
    field_of[i] = rows.fields().Shift(i) / 4;
  for (uint64_t w = 0; w < words; ++w)
    for (uint64_t i = 0; i < width; ++i) {
      Words square;
      for (uint64_t k = 0; k < kCodesOfWord; ++k)
        square[k] = lines[(i * kCodesOfWord + k) * words + w];
      Transpose(square);
      for (uint64_t r = 0; r < kCodesOfWord; ++r)
        if (uint64_t to = (first + w) * kCodesOfWord + r - row; to < count) // wraps below `row`
          out[to * width + i] = square[field_of[r]];
    }
  return absl::OkStatus();
}

void PackCodeWords(const uint32_t *words, uint64_t row, std::byte *unit) {
  constexpr uint64_t kPieceWords = 4, kPieceBytes = 16, kRowBytes = 64;
  constexpr uint32_t kLow = 0x0f0f0f0f;
  const uint64_t swizzle = row / 2 % 4;
  for (uint64_t p = 0; p < kRowBytes / kPieceBytes; ++p, words += kPieceWords) {
    // Bytes t: columns 2 t and 2 t + 8, then 16 more of each, then those after them.
    const uint32_t fields[] = {(words[0] & kLow) | (words[1] & kLow) << 4, (words[2] & kLow) | (words[3] & kLow) << 4,
                               (words[0] >> 4 & kLow) | (words[1] & ~kLow),
                               (words[2] >> 4 & kLow) | (words[3] & ~kLow)};
    std::array<uint32_t, kPieceWords> piece = {};
    for (uint32_t t = 0; t < kPieceWords; ++t)
      for (uint32_t f = 0; f < 4; ++f)
        piece[t] |= (fields[f] >> 8 * t & 0xff) << 8 * f;
    std::memcpy(unit + row * kRowBytes + (p ^ swizzle) * kPieceBytes, piece.data(), kPieceBytes);
  }
}

} // namespace inlay
