//===- Diagnostics.h - diagnostics of passes as errors and explanations ----===//

#ifndef INLAY_COMPILER_PIPELINES_DIAGNOSTICS_H
#define INLAY_COMPILER_PIPELINES_DIAGNOSTICS_H

#include "absl/status/status.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"

#include <set>
#include <string>
#include <vector>

namespace inlay {

/// Shortens a list of problems to the first one and the number of the others.
absl::Status firstProblem(const absl::Status &status);

/// Collects the diagnostics of passes: errors for the status, remarks for --explain.
class Diagnostics {
public:
  explicit Diagnostics(mlir::MLIRContext &context);

  absl::Status failure(const std::string &stage) const;

  /// The table of --explain. Remarks with equal names and texts are listed once.
  std::string explain() const;

private:
  std::string errors;
  std::vector<std::pair<std::string, std::string>> remarks;
  std::set<std::string> seen;
  mlir::ScopedDiagnosticHandler handler;
};

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_DIAGNOSTICS_H
