//===- CompileModel.h - compiles a model directory into a bundle -----------===//
//
// The implementation of compile-model as a library: imports the model, lowers it for each target, compiles the kernels
// and writes the bundle. Errors, including diagnostics of passes, are returned as Status.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_COMPILER_PIPELINES_COMPILEMODEL_H
#define INLAY_COMPILER_PIPELINES_COMPILEMODEL_H

#include "absl/status/status.h"

#include "compiler/pipelines/Lowering.h"
#include "compiler/pipelines/NumberTypes.h"
#include "compiler/pipelines/ParallelSizes.h"
#include "compiler/pipelines/Tuning.h"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace inlay {

/// Where the bundle's weights are when it is loaded.
enum class WeightsMode {
  Pack,  // in the bundle, packed for each target
  Link,  // in the checkpoint, packed while loading
  Dummy, // random, made while loading
};

/// The stage to print instead of writing a bundle. Bundle prints nothing and writes the bundle.
enum class EmitStage { Bundle, Llm, Tile, Scheduled, Cuda, Ptx };

struct CompileRequest : NumberTypes {
  std::string modelDirectory;
  std::string output;
  std::vector<std::string> targets; // "cpu", "sm_90a"
  std::string quantizationEval; // file with text, to compare the quantized model with the unquantized one; empty: none
  std::string calibration;      // file with text, to find static scales of fp8 activations; empty: none
  // The scales that were found, by the names of weights in the llm dialect; compileModel finds them if `calibration`
  // names a file.
  std::map<std::string, float> inputScales;
  WeightsMode weights = WeightsMode::Pack;
  EmitStage emit = EmitStage::Bundle;
  ParallelSizes parallel; // ranks that run the bundle
  std::optional<int64_t> maxModelLen, maxNumSeqs, maxNumBatchedTokens;
  int64_t blockSize = 16;         // positions per page of the KV cache
  bool explain = false;           // print which ops were fused, which were not, and why
  bool dryRun = false;            // compile, but write nothing
  bool saveIr = false;            // add the cuda dialect to the bundle; #line in the kernels' sources refers to it
  bool overwrite = false;         // replace an existing bundle
  std::string nvrtc;              // path of libnvrtc or its directory; empty: search the usual places
  std::string cpu;                // LLVM's name of the CPU; empty: this machine's
  std::string tuning = "builtin"; // file with measured configs; empty: use cost estimates only
  LibraryUse library = LibraryUse::Never;
  SumOptions sums; // on GPUs
  // Measures schedules of the GPU targets first and adds them to the file `tuning`; target, file and progress are set
  // by compileModel.
  std::optional<TuneOptions> tune;
  std::vector<std::string> without;                  // optimizations of `ablations` to disable, to measure their effect
  std::function<void(const std::string &)> progress; // called with one line per stage; may be empty
};

/// The least SumOptions::halvesRows, and what it is by default if sums run beside other kernels: in smaller steps,
/// a half of a product is too short to hide a sum.
inline constexpr int64_t kLeastHalvesRows = 32, kDefaultHalvesRows = 1024;

/// The optimizations that CompileRequest::without can disable.
inline constexpr const char *ablations[] = {"dependent-launch", "early-fill", "fusion", "norm-prologues"};

/// Compiles the model of `request` and writes its bundle. Text of --emit and --explain is appended to `out`. No bundle
/// is written on failure.
absl::Status compileModel(const CompileRequest &request, std::string &out);

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_COMPILEMODEL_H
