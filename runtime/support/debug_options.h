// The environment variable INLAY_DEBUG: enables slower and stricter checks for debugging (docs/debugging.md).
#ifndef INLAY_RUNTIME_SUPPORT_DEBUG_OPTIONS_H_
#define INLAY_RUNTIME_SUPPORT_DEBUG_OPTIONS_H_

#include "absl/status/statusor.h"

#include <string_view>

namespace inlay {

struct DebugOptions {
  bool guard_end = false;      // each device buffer ends at an unmapped page
  bool guard_begin = false;    // each device buffer begins at an unmapped page
  bool poison = false;         // device buffers begin as bytes 0xff: NaN, -1
  bool sync_launches = false;  // wait after each kernel; an error names it
  bool graph_launches = false; // the same, with each kernel in a separate CUDA graph
  bool check_steps = false;    // check the metadata of each step on the host and its copy on the device
};

// Parses words separated by commas: guard-end, guard-begin, poison, sync-launches, graph-launches, check-steps. Unknown
// words and the use of both guard-end and guard-begin are errors.
absl::StatusOr<DebugOptions> ParseDebugOptions(std::string_view words);

// Parses INLAY_DEBUG. If it is not set, all options are off.
absl::StatusOr<DebugOptions> ReadDebugOptions();

} // namespace inlay

#endif // INLAY_RUNTIME_SUPPORT_DEBUG_OPTIONS_H_
