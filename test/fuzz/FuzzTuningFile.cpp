// Arbitrary bytes as a tuning file: parsing gives measurements or an error of one line. Writing and parsing the
// measurements again gives the same result.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "passes/tile/tuning/TuningFile.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view text(reinterpret_cast<const char *>(data), size);
  absl::StatusOr<inlay::TuningFile> file = inlay::TuningFile::parse(text, "tuning.json");
  if (!file.ok()) {
    if (file.status().message().find('\n') != absl::string_view::npos)
      __builtin_trap();
    return 0;
  }
  std::string written = file->toText();
  absl::StatusOr<inlay::TuningFile> again = inlay::TuningFile::parse(written, "tuning.json");
  if (!again.ok() || again->entries.size() != file->entries.size() || again->toText() != written)
    __builtin_trap();
  return 0;
}
