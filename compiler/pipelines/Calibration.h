//===- Calibration.h - static scales of activations from a text ------------===//
//
// The model runs over a text on the cpu of this machine, with activations that are quantized for each token. The
// largest scale that a token had is the static scale of an input.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_COMPILER_PIPELINES_CALIBRATION_H
#define INLAY_COMPILER_PIPELINES_CALIBRATION_H

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "compiler/pipelines/CompileModel.h"
#include "dialects/llm/RowScales.h"
#include "mlir/IR/BuiltinOps.h"

#include <map>
#include <string>
#include <vector>

namespace inlay {

/// A launch of an entry for prompts that finds scales of rows.
struct ScaledLaunch {
  uint32_t index = 0; // among the launches of the entry in the plan
  llm::RowScales scales;
};

/// The launches of the mixed entry of `tiles`, which has one stage, that find scales of rows.
std::vector<ScaledLaunch> findScaledLaunches(mlir::ModuleOp tiles);

/// Compiles the bundle of `request`, which has one stage and the target cpu, and finds its launches of that kind.
absl::Status compileForCalibration(const CompileRequest &request, std::vector<ScaledLaunch> &launches);

/// The text of CompileRequest::calibration; empty if there is none. Fails if the file cannot be read or is empty, or if
/// the request does not quantize both the weights of a checkpoint with floats and their activations to fp8.
absl::StatusOr<std::string> readCalibrationText(const CompileRequest &request);

/// The scales of what each quantized matrix is multiplied by, by the names of the weights: the largest magnitude on
/// `text`, divided by the largest code. Appends a line for each to `out` if the request explains. InvalidArgument: the
/// text has less than two tokens, or nothing is multiplied as codes.
absl::StatusOr<std::map<std::string, float>> calibrate(const CompileRequest &request, const std::string &text,
                                                       std::string &out);

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_CALIBRATION_H
