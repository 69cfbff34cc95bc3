#include "runtime/bundle/code_words.h"

#include <array>
#include <cstring>
#include <utility>
#include <vector>

namespace inlay {
namespace {

using Bytes16 = uint8_t __attribute__((vector_size(16)));

// Exchanges the bits of `mask` of b with the same bits of a, `shift` higher.
void Exchange(uint32_t &a, uint32_t &b, int shift, uint32_t mask) {
  uint32_t difference = (a >> shift ^ b) & mask;
  b ^= difference;
  a ^= difference << shift;
}

// Transposes squares of 8 lines, square w in words w of the lines: field f of line k becomes field k of line f.
// Quarters of the 8 x 8 fields are exchanged, then quarters of these (Warren, Hacker's Delight, 7-3). The lines do not
// overlap, so that the compiler turns the loop into vectors.
void TransposeLines(uint32_t *__restrict l0, uint32_t *__restrict l1, uint32_t *__restrict l2, uint32_t *__restrict l3,
                    uint32_t *__restrict l4, uint32_t *__restrict l5, uint32_t *__restrict l6, uint32_t *__restrict l7,
                    uint64_t words) {
  for (uint64_t w = 0; w < words; ++w) {
    uint32_t a = l0[w], b = l1[w], c = l2[w], d = l3[w], e = l4[w], f = l5[w], g = l6[w], h = l7[w];
    Exchange(a, e, 16, 0x0000ffff);
    Exchange(b, f, 16, 0x0000ffff);
    Exchange(c, g, 16, 0x0000ffff);
    Exchange(d, h, 16, 0x0000ffff);
    Exchange(a, c, 8, 0x00ff00ff);
    Exchange(b, d, 8, 0x00ff00ff);
    Exchange(e, g, 8, 0x00ff00ff);
    Exchange(f, h, 8, 0x00ff00ff);
    Exchange(a, b, 4, 0x0f0f0f0f);
    Exchange(c, d, 4, 0x0f0f0f0f);
    Exchange(e, f, 4, 0x0f0f0f0f);
    Exchange(g, h, 4, 0x0f0f0f0f);
    l0[w] = a, l1[w] = b, l2[w] = c, l3[w] = d, l4[w] = e, l5[w] = f, l6[w] = g, l7[w] = h;
  }
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
  // Line f of a transposed square has the row whose field is the f-th.
  std::array<uint64_t, kCodesOfWord> row_of;
  for (uint32_t r = 0; r < row_of.size(); ++r)
    row_of[rows.fields().Shift(r) / 4] = r;
  for (uint64_t i = 0; i < width; ++i) {
    uint32_t *square = &lines[i * kCodesOfWord * words];
    TransposeLines(square, square + words, square + 2 * words, square + 3 * words, square + 4 * words,
                   square + 5 * words, square + 6 * words, square + 7 * words, words);
    for (uint64_t f = 0; f < kCodesOfWord; ++f)
      for (uint64_t w = 0; w < words; ++w)
        if (uint64_t to = (first + w) * kCodesOfWord + row_of[f] - row; to < count) // wraps below `row`
          out[to * width + i] = square[f * words + w];
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
    // Word t has bytes t of the four.
    std::array<uint32_t, kPieceWords> piece;
    Bytes16 bytes;
    std::memcpy(&bytes, fields, sizeof bytes);
    bytes = __builtin_shufflevector(bytes, bytes, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    std::memcpy(piece.data(), &bytes, sizeof bytes);
    std::memcpy(unit + row * kRowBytes + (p ^ swizzle) * kPieceBytes, piece.data(), kPieceBytes);
  }
}

} // namespace inlay
