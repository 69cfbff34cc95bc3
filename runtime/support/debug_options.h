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
  bool graph_launches = false; // the same, each kernel in a graph of its own
  bool check_steps = false;    // check the metadata of each step on the host, and what arrived on the device
};

// Words separated by commas: guard-end, guard-begin, poison, sync-launches, graph-launches, check-steps. Error: an
// unknown word, or both guards.
absl::StatusOr<DebugOptions> ParseDebugOptions(std::string_view words);

// Those of INLAY_DEBUG; none if it is not set.
absl::StatusOr<DebugOptions> ReadDebugOptions();

} // namespace inlay

#endif // INLAY_RUNTIME_SUPPORT_DEBUG_OPTIONS_H_
