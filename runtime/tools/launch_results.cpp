#include "runtime/tools/launch_results.h"

#include "runtime/bundle/elements.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace inlay::tools {

std::vector<ResultRange> ResultsOf(const BoundLaunch &bound, const plan::Kernel &kernel, const StepSizes &sizes,
                                   std::span<const plan::DataType> types) {
  std::vector<ResultRange> ranges;
  for (uint32_t i = 0; i < bound.launch->arguments()->size(); ++i) {
    plan::BufferKind kind = bound.launch->arguments()->Get(i)->kind();
    if (kind != plan::BufferKind_Workspace && kind != plan::BufferKind_Logits)
      continue;
    const plan::View &view = *kernel.views()->Get(i);
    auto extent = static_cast<size_t>(view.rows().extent());
    uint64_t size = extent < sizes.size() ? static_cast<uint64_t>(sizes[extent]) : 1;
    uint64_t rows = (size + view.rows().divisor() - 1) / view.rows().divisor() * view.rows().multiplier();
    ranges.push_back({bound.arguments[i], rows * view.row_bytes(), types[i]});
  }
  return ranges;
}

// Elements that one thread takes at a time.
static constexpr size_t kPart = size_t{1} << 18;

static void InParts(size_t elements, ThreadPool &pool, const std::function<void(int64_t, size_t, size_t)> &body) {
  pool.Run(static_cast<int64_t>((elements + kPart - 1) / kPart), [&](int64_t part) {
    size_t first = static_cast<size_t>(part) * kPart;
    body(part, first, std::min(kPart, elements - first));
  });
}

absl::StatusOr<Results> ReadResults(Device &device, const std::vector<ResultRange> &ranges) {
  Results all;
  std::vector<std::byte> bytes;
  for (const ResultRange &range : ranges) {
    bytes.resize(range.bytes);
    if (absl::Status status = device.CopyToHost(bytes.data(), range.address, range.bytes); !status.ok())
      return status;
    size_t size = ElementSize(range.type);
    std::vector<float> &elements = all.emplace_back(range.bytes / size);
    InParts(elements.size(), device.host_pool(), [&](int64_t, size_t first, size_t count) {
      if (IsFloat(range.type))
        return ConvertElements(bytes.data() + first * size, range.type,
                               reinterpret_cast<std::byte *>(elements.data() + first), plan::DataType_F32, count);
      // Codes of equal numbers are equal.
      for (size_t i = first; i < first + count; ++i)
        elements[i] = static_cast<float>(bytes[i]);
    });
  }
  return all;
}

static double RangeError(const std::vector<float> &results, const std::vector<float> &reference, ThreadPool &pool) {
  struct Sums {
    double squared = 0, norm = 0;
  };
  std::vector<Sums> parts(results.size() / kPart + 1);
  InParts(results.size(), pool, [&](int64_t part, size_t first, size_t count) {
    Sums &sums = parts[static_cast<size_t>(part)];
    for (size_t i = first; i < first + count; ++i) {
      bool is_finite = std::isfinite(results[i]);
      if (is_finite != std::isfinite(reference[i]))
        sums.squared = std::numeric_limits<double>::infinity();
      if (!is_finite || !std::isfinite(reference[i]))
        continue;
      double difference = double{results[i]} - reference[i];
      sums.squared += difference * difference;
      sums.norm += double{reference[i]} * reference[i];
    }
  });
  Sums all;
  for (const Sums &part : parts) {
    all.squared += part.squared;
    all.norm += part.norm;
  }
  return all.squared == 0 ? 0 : all.squared / all.norm;
}

double RelativeSquaredError(const Results &results, const Results &reference, ThreadPool &pool) {
  double most = 0;
  for (size_t i = 0; i < results.size(); ++i)
    most = std::max(most, RangeError(results[i], reference[i], pool));
  return most;
}

} // namespace inlay::tools
