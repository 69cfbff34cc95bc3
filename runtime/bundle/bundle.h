// A bundle on disk: the plan that is executed, verified, and the files beside it. Nothing in it is trusted before it
// was checked; the kernels are run only because the user chose to load the bundle.
#ifndef INLAY_RUNTIME_BUNDLE_BUNDLE_H_
#define INLAY_RUNTIME_BUNDLE_BUNDLE_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/bundle/plan_generated.h"
#include "runtime/bundle/recipe.h"
#include "runtime/support/files.h"
#include "runtime/support/thread_pool.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace inlay {

// The version of bundles that this build writes and reads.
inline constexpr uint32_t kBundleFormatVersion = 1;

// Checks all that the runtime relies on: indices, ranges, sums of offsets and sizes, divisors, numbers of arguments.
absl::Status VerifyPlan(const plan::Plan &plan);

// Hash of a file's bytes, as the manifest holds it.
std::string HashBytes(std::span<const std::byte> bytes);

// Weights are hashed in chunks of this many bytes, checked while they are transferred.
inline constexpr uint64_t kWeightChunkBytes = uint64_t{64} << 20;

class Bundle {
public:
  // Opens a bundle directory and verifies manifest, plan and every small file.
  static absl::StatusOr<std::unique_ptr<Bundle>> Open(const std::string &path);
  ~Bundle();

  const std::string &path() const { return path_; }
  const plan::Plan &plan() const { return *plan_; }
  // The target of that name, or null.
  const plan::Target *target(std::string_view name) const;
  // "cpu, sm_90a": for messages.
  std::string TargetNames() const;
  // The text of manifest.json.
  const std::string &manifest() const { return manifest_; }
  // "pack", "link" or "dummy".
  const std::string &weights_mode() const { return weights_mode_; }

  // Writes weight `index` of `target` to `out`, which has its `bytes`.
  absl::Status LoadWeight(const plan::Target &target, uint32_t index, std::span<std::byte> out, ThreadPool &pool) const;

private:
  struct Checkpoint; // tensors of --weights=link
  Bundle();
  absl::Status OpenWeights();

  std::string path_, manifest_, weights_mode_, plan_bytes_;
  const plan::Plan *plan_ = nullptr;
  std::unique_ptr<Checkpoint> checkpoint_;
  struct Packed {
    MappedFile file;
    std::vector<std::string> chunk_hashes;
    mutable std::vector<bool> checked;
  };
  std::map<std::string, Packed> packed_; // by target
};

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_BUNDLE_H_
