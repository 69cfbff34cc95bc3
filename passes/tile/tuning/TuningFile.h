//===- TuningFile.h - measured schedules of kernels --------------------------===//
//
// The file of measurements that tile-select-schedule asks before its analytic model,
// and how it is read and written. No MLIR: the parser is fuzzed without a compiler.
// What a family can run is not known here (passes/tile/ScheduleTuning.h).
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_TUNING_TUNINGFILE_H
#define INLAY_PASSES_TILE_TUNING_TUNINGFILE_H

#include "absl/status/statusor.h"

#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace inlay {
/// Names the measurements that the compiler carries.
inline constexpr const char *kBuiltinTuning = "builtin";

/// Which program an entry is for: `rows` x k times the transpose of columns x k, between a prologue and an epilogue.
struct TuningKey {
  std::string family; // matvec, swap_ab, gemm
  int64_t rows = 0;   // of a tile of the program
  int64_t columns = 0, k = 0;
  std::string dtype;    // of weights: bf16, f16
  std::string prologue; // none, norm
  std::string epilogue; // store, residual, gated, rope

  auto operator<=>(const TuningKey &) const = default;
  /// `swap_ab 64 x 4096 x 4096 bf16, none, residual`
  std::string toString() const;
};

/// Which attention an entry is for: of query heads that share heads of keys in a paged cache.
struct AttentionKey {
  std::string family; // decode_attention, prefill_attention
  int64_t heads = 0;  // query heads for each of keys
  int64_t kvHeads = 0, headDim = 0;
  int64_t pageSize = 0;  // positions
  int64_t sequences = 0; // of decode steps, at the most; 0: steps of prompts
  std::string dtype;     // of keys: bf16, f16

  auto operator<=>(const AttentionKey &) const = default;
  /// `decode_attention 16 sequences, 8 x 4 heads of 128 bf16, pages of 16`
  std::string toString() const;
};

struct TuningEntry {
  std::map<std::string, int64_t> config; // names and values of the numbers of the family's schedule
  double microseconds = 0;               // of one launch
  std::string compiler;                  // revision that made the kernel
  std::string date;                      // of the measurement, 2026-11-29; empty in files of format 2
};

/// A product that a library could compute: any rows x k times the transpose of columns x k.
struct LibraryKey {
  int64_t columns = 0, k = 0;
  std::string dtype;    // of rows and weights: bf16, f16
  std::string epilogue; // store, residual

  auto operator<=>(const LibraryKey &) const = default;
};

/// One launch of cuBLASLt beside one of the generated kernel, in the same run.
struct LibraryEntry {
  int64_t rows = 0;
  double microseconds = 0, generatedMicroseconds = 0;
  std::string compiler; // revision that made the kernel
};

struct TuningFile {
  /// The format that is written. Older and newer ones are refused, but for those from the oldest on: format 2 has
  /// neither dates nor attention.
  static constexpr int64_t kFormat = 3, kOldestFormat = 2;

  std::string path;   // as errors name it
  std::string target; // sm_90a
  std::string chip;   // as its driver calls it
  std::map<TuningKey, TuningEntry> entries;
  std::map<AttentionKey, TuningEntry> attention;
  std::map<LibraryKey, std::map<int64_t, LibraryEntry>> libraries; // by rows

  /// Reads `text`, which may be anything; an error names `path`, the key, what was found and what was expected.
  static absl::StatusOr<TuningFile> parse(std::string_view text, std::string path);
  /// A file of at most 16 MB.
  static absl::StatusOr<TuningFile> read(const std::string &path);
  /// The measurements that the compiler carries.
  static absl::StatusOr<TuningFile> builtin();
  /// The file that an option names: none for "", the compiler's own for `builtin`. One of another target is an error.
  static absl::StatusOr<TuningFile> open(const std::string &name, std::string_view target);

  /// One line an entry, in the order of the keys.
  std::string toText() const;
  /// Replaces the file `path` at once, so that an interruption leaves the old or the new one.
  absl::Status write() const;
};
} // namespace inlay

#endif // INLAY_PASSES_TILE_TUNING_TUNINGFILE_H
