//===- Diagnostics.cpp - diagnostics of passes as errors and explanations --===//

#include "compiler/pipelines/Diagnostics.h"

#include "fmt/format.h"
#include "mlir/IR/Location.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>

using namespace mlir;
using namespace inlay;

absl::Status inlay::firstProblem(const absl::Status &status) {
  std::string text(status.message());
  size_t others = std::count(text.begin(), text.end(), '\n');
  if (others == 0)
    return status;
  return absl::Status(status.code(), fmt::format("{} (and {} more; check-model lists them all)",
                                                 text.substr(0, text.find('\n')), others));
}

/// The name of a location in the checkpoint or, if it has none, the location as MLIR prints it.
static std::string describe(Location location) {
  if (auto name = dyn_cast<NameLoc>(location))
    return name.getName().str();
  std::string text;
  llvm::raw_string_ostream stream(text);
  location.print(stream);
  return text;
}

Diagnostics::Diagnostics(MLIRContext &context)
    : handler(&context, [this](Diagnostic &diagnostic) {
        std::string line = describe(diagnostic.getLocation()) + ": " + diagnostic.str();
        if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
          errors += (errors.empty() ? "" : "\n") + line;
        else if (diagnostic.getSeverity() == DiagnosticSeverity::Remark && seen.insert(line).second)
          remarks.emplace_back(describe(diagnostic.getLocation()), diagnostic.str());
        return success();
      }) {}

absl::Status Diagnostics::failure(const std::string &stage) const {
  if (errors.empty())
    return absl::InternalError(fmt::format("{} failed without a diagnostic", stage));
  return firstProblem(absl::InvalidArgumentError(errors));
}

std::string Diagnostics::explain() const {
  std::string text;
  size_t width = 0;
  for (const auto &[op, decision] : remarks)
    width = std::max(width, op.size());
  for (const auto &[op, decision] : remarks)
    text += fmt::format("{:{}}  {}\n", op, width, decision);
  return text;
}
