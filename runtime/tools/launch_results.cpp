#include "runtime/tools/launch_results.h"

#include "runtime/bundle/elements.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace inlay::tools {

std::vector<ResultRange> ResultsOf(const BoundLaunch &bound, const plan::Kernel &kernel, const StepSizes &sizes,
                                   plan::DataType type) {
  std::vector<ResultRange> ranges;
  for (uint32_t i = 0; i < bound.launch->arguments()->size(); ++i) {
    plan::BufferKind kind = bound.launch->arguments()->Get(i)->kind();
    if (kind != plan::BufferKind_Workspace && kind != plan::BufferKind_Logits)
      continue;
    const plan::View &view = *kernel.views()->Get(i);
    auto extent = static_cast<size_t>(view.rows().extent());
    uint64_t size = extent < sizes.size() ? static_cast<uint64_t>(sizes[extent]) : 1;
    uint64_t rows = (size + view.rows().divisor() - 1) / view.rows().divisor() * view.rows().multiplier();
    ranges.push_back(
        {bound.arguments[i], rows * view.row_bytes(), kind == plan::BufferKind_Logits ? plan::DataType_F32 : type});
  }
  return ranges;
}

absl::StatusOr<Results> ReadResults(Device &device, const std::vector<ResultRange> &ranges) {
  Results all;
  std::vector<std::byte> bytes;
  for (const ResultRange &range : ranges) {
    bytes.resize(range.bytes);
    if (absl::Status status = device.CopyToHost(bytes.data(), range.address, range.bytes); !status.ok())
      return status;
    std::vector<float> &elements = all.emplace_back(range.bytes / ElementSize(range.type));
    ConvertElements(bytes.data(), range.type, reinterpret_cast<std::byte *>(elements.data()), plan::DataType_F32,
                    elements.size());
  }
  return all;
}

static double RangeError(const std::vector<float> &results, const std::vector<float> &reference) {
  double squared = 0, norm = 0;
  for (size_t i = 0; i < results.size(); ++i) {
    bool is_finite = std::isfinite(results[i]);
    if (is_finite != std::isfinite(reference[i]))
      return std::numeric_limits<double>::infinity();
    if (!is_finite)
      continue;
    double difference = double{results[i]} - reference[i];
    squared += difference * difference;
    norm += double{reference[i]} * reference[i];
  }
  return squared == 0 ? 0 : squared / norm;
}

double RelativeSquaredError(const Results &results, const Results &reference) {
  double most = 0;
  for (size_t i = 0; i < results.size(); ++i)
    most = std::max(most, RangeError(results[i], reference[i]));
  return most;
}

} // namespace inlay::tools
