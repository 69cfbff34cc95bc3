// Makes a weight as kernels read it from tensors as a checkpoint stores them. The same code runs when a bundle is
// packed (--weights=pack) and when one is loaded (--weights=link, --dummy-weights).
#ifndef INLAY_RUNTIME_BUNDLE_RECIPE_H_
#define INLAY_RUNTIME_BUNDLE_RECIPE_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/bundle/plan_generated.h"
#include "runtime/support/thread_pool.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace inlay {

// A tensor of a checkpoint.
struct SourceTensor {
  plan::DataType type = plan::DataType_F32;
  std::vector<int64_t> shape; // [rows, columns], or [rows] for a vector
  std::span<const std::byte> bytes;
};

using SourceLookup = std::function<absl::StatusOr<SourceTensor>(std::string_view name)>;

// Bytes of an element; 0 for a type that plan.fbs does not have.
size_t ElementSize(plan::DataType type);

// Bytes of the weight in memory, padding included, or an error if they do not fit into 63 bits.
absl::StatusOr<uint64_t> WeightBytes(const plan::Weight &weight);

// Writes the weight to `out`, which has WeightBytes. Sources are concatenated along their rows, rows put into the
// recipe's order, elements converted (to nearest, ties to even) and packed.
absl::Status CarryOut(const plan::Weight &weight, const SourceLookup &lookup, std::span<std::byte> out,
                      ThreadPool &pool);

// Fills `out` with what a trained weight might look like: matrices with a standard deviation of 0.02, norms near 1.
// Rope tables are what they always are.
absl::Status FillRandom(const plan::Weight &weight, uint64_t seed, std::span<std::byte> out, ThreadPool &pool);

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_RECIPE_H_
