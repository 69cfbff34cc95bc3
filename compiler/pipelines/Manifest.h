//===- Manifest.h - what a manifest says of the model and its kernels ------===//
//
// Parts of manifest.json that the runtime reads as text and people read in inspect-bundle. What launches need is in the
// plan (PlanBuilder.h).
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_COMPILER_PIPELINES_MANIFEST_H
#define INLAY_COMPILER_PIPELINES_MANIFEST_H

#include "codegen/emit/CompileKernels.h"
#include "compiler/pipelines/Lowering.h"
#include "dialects/tile/Tile.h"
#include "frontends/hf/Checkpoint.h"
#include "llvm/Support/JSON.h"

namespace inlay {

/// The sizes of the model, and of the steps that its kernels take.
llvm::json::Object describeModel(const hf::ModelConfig &config, const StepLimits &limits);

/// The sampling parameters that the checkpoint recommends, under the field names of requests. The runtime uses them as
/// defaults.
llvm::json::Object describeSampling(const hf::GenerationConfig &generation);

/// How large a kernel is, and how long NVRTC took.
llvm::json::Object describeKernel(const CudaKernel &kernel);

/// `entry` and what `program` computes: its name, the bytes that it moves, and what it exchanges with other ranks.
llvm::json::Object describeProgram(tile::ProgramOp program, llvm::json::Object entry = {});

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_MANIFEST_H
