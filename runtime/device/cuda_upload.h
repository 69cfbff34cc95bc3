// Copies host memory to a GPU at the bandwidth of the bus: several threads fill pinned buffers while others are copied.
#ifndef INLAY_RUNTIME_DEVICE_CUDA_UPLOAD_H_
#define INLAY_RUNTIME_DEVICE_CUDA_UPLOAD_H_

#include "runtime/bundle/weight_loader.h"
#include "runtime/device/cuda_driver.h"

namespace inlay {

// Implement WeightSink::Write() and WeightSink::Repeat() for the GPU with context `context`. Pinned memory is allocated
// only during a call.
absl::Status UploadRanges(const cuda_driver::Api &api, cuda_driver::Context context,
                          std::span<const WeightSink::Range> ranges, const WeightSink::FillRange &fill,
                          ThreadPool &pool);
absl::Status UploadRepetitions(const cuda_driver::Api &api, cuda_driver::Context context,
                               std::span<const WeightSink::Repetition> parts, std::span<const std::byte> pattern,
                               ThreadPool &pool);

// Implements WeightSink::Pack(). The sources of each range are copied to a buffer on the device. Then `launch` launches
// a kernel that packs them.
inline constexpr uint64_t kMaxPackedBytes = uint64_t{2} << 20;
using LaunchPack = std::function<absl::Status(cuda_driver::Stream stream, const WeightSink::PackedRange &range,
                                              cuda_driver::Pointer sources)>;
absl::Status UploadPacked(const cuda_driver::Api &api, cuda_driver::Context context,
                          std::span<const WeightSink::PackedRange> ranges, const WeightSink::FillRange &fill,
                          const LaunchPack &launch, ThreadPool &pool);

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUDA_UPLOAD_H_
