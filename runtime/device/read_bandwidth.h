// Measures the read bandwidth of the machine's memory. Decode speed is given as a share of it.
#ifndef INLAY_RUNTIME_DEVICE_READ_BANDWIDTH_H_
#define INLAY_RUNTIME_DEVICE_READ_BANDWIDTH_H_

#include "absl/status/statusor.h"
#include "runtime/device/device.h"

#include <string_view>

namespace inlay {

// Returns the bytes per second of a read-only stream, the best of several runs. Target "cpu" uses a pool of `threads`
// threads (0: one per core), "sm_90a" the GPU that OpenDevice() opens for the rank. Allocates up to 4 GiB of memory for
// less than a second.
absl::StatusOr<double> MeasureReadBandwidth(std::string_view target, int threads, const DeviceRank &rank = {});

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_READ_BANDWIDTH_H_
