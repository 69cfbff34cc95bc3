//===- TargetKernels.cpp - the kernels of one target -----------------------===//

#include "compiler/pipelines/TargetKernels.h"

#include "codegen/emit/CompileKernels.h"
#include "codegen/tile_to_cpu/Compile.h"
#include "compiler/pipelines/Manifest.h"
#include "compiler/pipelines/RequestOptions.h"
#include "passes/tile_to_cuda/CreateKernel.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace inlay;

static absl::Status compileForCpu(CompiledTarget &result, const CompileRequest &request,
                                  const Diagnostics &diagnostics) {
  if (request.emit != EmitStage::Bundle)
    return absl::InvalidArgumentError("--emit scheduled, cuda and ptx are for GPU targets; add --target sm_90a");
  CpuOptions options;
  options.cpu = request.cpu;
  for (auto program : result.tiles->getOps<tile::ProgramOp>()) {
    result.kernels.push_back({program, {}, {}});
    result.manifestKernels.push_back(describeProgram(program));
  }
  CpuLibrary library;
  if (failed(compileCpuKernels(*result.tiles, options, library)))
    return diagnostics.failure("code generation for the cpu");
  result.files.emplace_back("kernels/cpu/kernels.so", std::move(library.bytes));
  result.cpuFeatures = std::move(library.features);
  return absl::OkStatus();
}

/// Adds a program that a library computes, so that no kernel is compiled for it.
static LogicalResult addLibraryProduct(CompiledTarget &result, tile::ProgramOp program) {
  FailureOr<LibraryProduct> product = findLibraryProduct(program);
  if (failed(product))
    return failure();
  result.kernels.push_back({program, {}, product});
  result.manifestKernels.push_back(describeProgram(program, llvm::json::Object{{"library", "cublaslt"}}));
  return success();
}

static absl::Status compileForCuda(CompiledTarget &result, const std::string &target, const CompileRequest &request,
                                   const Diagnostics &diagnostics) {
  Ablation without = ablationOf(request);
  CudaOptions options;
  options.arch = target;
  options.nvrtcPath = request.nvrtc;
  options.sourceOnly = request.emit == EmitStage::Cuda;
  options.fillsEarly = !without.earlyFill;
  if (request.saveIr)
    options.irName = "kernels.mlir";
  FailureOr<CudaKernels> compiled = compileCudaKernels(*result.tiles, options);
  if (failed(compiled))
    return diagnostics.failure("code generation for " + target);
  result.cudaKernels = std::move(compiled->module);
  if (request.saveIr)
    result.files.emplace_back("kernels/" + target + "/" + options.irName, std::move(compiled->ir));
  for (auto program : result.tiles->getOps<tile::ProgramOp>()) {
    if (isLibraryProduct(program) && failed(addLibraryProduct(result, program)))
      return diagnostics.failure("describing a library product");
  }
  for (CudaKernel &kernel : compiled->kernels) {
    cuda::KernelOp op = kernel.op;
    std::string name = op.getSymName().str();
    if (request.emit == EmitStage::Cuda)
      result.text += kernel.source + "\n";
    if (request.emit == EmitStage::Ptx)
      result.text += kernel.ptx + "\n";
    if (without.dependentLaunch)
      op.setDependentLaunch(false);
    // An epilogue stands behind its kernel.
    if (op->hasAttr(kEpilogueOfAttr)) {
      result.kernels.back().epilogue = op;
      (*result.manifestKernels.back().getAsObject())["epilogue"] = describeKernel(kernel);
    } else {
      auto program = result.tiles->lookupSymbol<tile::ProgramOp>(name);
      result.kernels.push_back({program, op, {}});
      result.manifestKernels.push_back(describeProgram(program, describeKernel(kernel)));
    }
    std::string stem = llvm::formatv("kernels/{0}/{1}", target, name);
    result.files.emplace_back(stem + ".cu", std::move(kernel.source));
    result.files.emplace_back(stem + ".ptx", std::move(kernel.ptx));
    result.files.emplace_back(stem + ".cubin", std::move(kernel.cubin));
  }
  return absl::OkStatus();
}

absl::StatusOr<CompiledTarget> inlay::compileKernels(OwningOpRef<ModuleOp> tiles, const std::string &target,
                                                     const CompileRequest &request, const Diagnostics &diagnostics) {
  CompiledTarget result{std::move(tiles)};
  absl::Status status = target == "cpu" ? compileForCpu(result, request, diagnostics)
                                        : compileForCuda(result, target, request, diagnostics);
  if (!status.ok())
    return status;
  return result;
}
