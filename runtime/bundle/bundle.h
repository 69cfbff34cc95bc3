// Opens and verifies a bundle: the plan and the files that it refers to. All contents are checked before use. Kernels
// are native code and are trusted, because the user chose to load the bundle.
#ifndef INLAY_RUNTIME_BUNDLE_BUNDLE_H_
#define INLAY_RUNTIME_BUNDLE_BUNDLE_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/bundle/plan_generated.h"
#include "runtime/bundle/recipe.h"
#include "runtime/support/files.h"

#include <memory>
#include <string>
#include <string_view>

namespace inlay {

// The version of bundles that this build writes and reads.
inline constexpr uint32_t kBundleFormatVersion = 5;

// Checks all that the runtime relies on: indices, ranges, sums of offsets and sizes, divisors, numbers of arguments,
// and that what kernels read and write lies in the buffers that they are given.
absl::Status VerifyPlan(const plan::Plan &plan);

struct WeightFiles; // weight_files.h

class Bundle {
public:
  // Opens a bundle directory and verifies manifest, plan and every small file. `weights_source` is the directory of the
  // checkpoint that the bundle links, where it is another one than when it was compiled, as on another machine: its
  // files must have the same names, sizes and headers; their times, which copying changes, are not compared.
  static absl::StatusOr<std::unique_ptr<Bundle>> Open(const std::string &path, const std::string &weights_source = "");
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

  // Where LoadWeights (weight_loader.h) finds them.
  const WeightFiles &weight_files() const { return *weight_files_; }

private:
  struct Manifest; // its JSON
  Bundle();
  absl::Status CheckFiles(const Manifest &manifest) const;
  absl::Status OpenPlan(const Manifest &manifest);
  absl::Status OpenWeights(const Manifest &manifest, const std::string &weights_source);
  absl::Status OpenPacked(const Manifest &manifest);
  absl::Status OpenLinked(const Manifest &manifest, const std::string &weights_source);

  std::string path_, manifest_, weights_mode_, plan_bytes_;
  const plan::Plan *plan_ = nullptr;
  std::unique_ptr<WeightFiles> weight_files_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_BUNDLE_H_
