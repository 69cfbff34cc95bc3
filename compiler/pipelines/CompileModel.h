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

#include <cstdint>
#include <functional>
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

/// What to print instead of writing a bundle.
enum class EmitStage { Bundle, Llm, Tile, Cuda, Ptx };

struct CompileRequest {
  std::string modelDirectory;
  std::string output;
  std::vector<std::string> targets; // "cpu", "sm_90a"
  std::string dtype = "auto";
  WeightsMode weights = WeightsMode::Pack;
  EmitStage emit = EmitStage::Bundle;
  std::optional<int64_t> maxModelLen, maxNumSeqs, maxNumBatchedTokens;
  int64_t blockSize = 16;         // positions of a KV page
  bool explain = false;           // print the table of fusions and refusals
  bool dryRun = false;            // everything but writing
  bool saveIr = false;            // add the cuda dialect to the bundle; #line in the kernels' sources refers to it
  bool overwrite = false;         // replace an existing bundle
  std::string nvrtc;              // libnvrtc or its folder; empty: searched
  std::string cpu;                // of LLVM's cpu names; empty: this host's
  std::string tuning = "builtin"; // file of measured configs; empty: the analytic model alone
  LibraryUse library = LibraryUse::Never;
  std::vector<std::string> without;                  // names of `ablations`: left out, to measure what it is worth
  std::function<void(const std::string &)> progress; // one line a stage; may be empty
};

/// What CompileRequest::without may name.
inline constexpr const char *ablations[] = {"dependent-launch", "early-fill", "fusion", "norm-prologues"};

/// Compiles `request`. Text of --emit and --explain goes to `out`. Nothing is left at the output unless all succeeded.
absl::Status compileModel(const CompileRequest &request, std::string &out);

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_COMPILEMODEL_H
