//===- inlay-translate.cpp - imports configurations and prints CUDA C++ ----===//

#include "codegen/emit/CompileKernels.h"
#include "codegen/emit/PrintCuda.h"
#include "compiler/pipelines/Registration.h"
#include "frontends/hf/import/Import.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Tools/mlir-translate/MlirTranslateMain.h"
#include "mlir/Tools/mlir-translate/Translation.h"
#include "passes/tile/Passes.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace inlay;

/// Prints every kernel of the cuda dialect.
static LogicalResult printKernels(ModuleOp module, llvm::raw_ostream &os) {
  for (cuda::KernelOp kernel : module.getOps<cuda::KernelOp>())
    if (failed(printCuda(kernel, os)))
      return failure();
  return success();
}

static LogicalResult writeFile(const llvm::Twine &path, llvm::StringRef content) {
  std::error_code error;
  llvm::raw_fd_ostream os(path.str(), error);
  os << content;
  os.flush();
  if (error || os.has_error()) {
    llvm::errs() << "error: cannot write " << path << "\n";
    os.clear_error();
    return failure();
  }
  return success();
}

/// Gives programs that wait for a schedule the one of the analytic model.
static LogicalResult selectSchedules(ModuleOp module) {
  PassManager passes(module.getContext());
  passes.addPass(createSelectSchedulePass());
  passes.addPass(createApplySchedulePass());
  return passes.run(module);
}

/// The launch of a kernel as JSON, for the tests in test/codegen/gpu. Each dimension of the grid is [extent, divisor,
/// multiplier] as in plan.fbs. Each tensor map is [argument, dims, strides, box, swizzle, extent that multiplies the
/// last element of dims, or -1].
static std::string launchOf(cuda::KernelOp kernel) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "{\"name\": \"" << kernel.getSymName() << "\", \"block\": " << kernel.getThreads()
     << ", \"cluster\": " << kernel.getCluster() << ", \"shared_bytes\": " << kernel.getSharedBytes()
     << ", \"grid\": [";
  llvm::interleaveComma(kernel.getGridAttr().getDims(), os, [&](const cuda::Count &count) {
    os << "[" << count.size << ", " << count.divisor << ", " << count.multiplier << "]";
  });
  os << "], \"maps\": [";
  llvm::interleaveComma(kernel.getTensorMapAttrs(), os, [&](cuda::TensorMapAttr map) {
    auto list = [&](ArrayRef<int64_t> numbers) {
      os << ", [";
      llvm::interleaveComma(numbers, os);
      os << "]";
    };
    os << "[" << map.getArgument();
    list(map.getDims());
    list(map.getStrides());
    list(map.getBox());
    os << ", " << map.getSwizzle() << ", " << (map.getCapacity() ? static_cast<int>(*map.getCapacity()) : -1) << ", "
       << map.getElementType().getIntOrFloatBitWidth() / 8 << "]";
  });
  os << "]}\n";
  return text;
}

int main(int argc, char **argv) {
  hf::registerHuggingFaceTranslation();
  llvm::cl::opt<std::string> folder("kernels-to",
                                    llvm::cl::desc("directory for NAME.cu, .json, .ptx and .cubin of each kernel"));
  llvm::cl::opt<std::string> nvrtc("nvrtc", llvm::cl::desc("path of libnvrtc.so or its directory"));
  llvm::cl::opt<std::string> savedIr(
      "saved-ir", llvm::cl::desc("save the cuda dialect to this file and add #line directives that refer to it"));
  llvm::cl::opt<std::string> arch("arch", llvm::cl::desc("GPU architecture (default sm_90a)"),
                                  llvm::cl::init("sm_90a"));
  TranslateFromMLIRRegistration cudaToCpp("cuda-to-cpp", "print the kernels of the cuda dialect as CUDA C++",
                                          printKernels, registerAllDialects);
  auto compile = [&](ModuleOp module, llvm::raw_ostream &os, bool sourceOnly) -> LogicalResult {
    if (failed(selectSchedules(module)))
      return failure();
    CudaOptions options;
    options.nvrtcPath = nvrtc;
    options.arch = arch;
    options.irName = savedIr;
    options.sourceOnly = sourceOnly;
    FailureOr<CudaKernels> compiled = compileCudaKernels(module, options);
    if (failed(compiled) || (!savedIr.empty() && failed(writeFile(savedIr.getValue(), compiled->ir))))
      return failure();
    for (const CudaKernel &kernel : compiled->kernels) {
      cuda::KernelOp op = kernel.op;
      if (sourceOnly)
        os << kernel.source << "\n";
      else
        os << op.getSymName() << ": " << op.getThreads() << " threads, cluster " << op.getCluster() << ", "
           << kernel.registers << " registers, " << kernel.spillBytes << " bytes spilled, " << op.getSharedBytes()
           << " bytes shared, " << static_cast<int>(kernel.nvrtcMilliseconds) << " ms\n";
      if (folder.empty())
        continue;
      llvm::SmallString<128> stem(folder.getValue());
      llvm::sys::path::append(stem, op.getSymName());
      if (llvm::sys::fs::create_directories(folder) || failed(writeFile(stem + ".cu", kernel.source)) ||
          failed(writeFile(stem + ".json", launchOf(op))))
        return failure();
      if (!sourceOnly &&
          (failed(writeFile(stem + ".ptx", kernel.ptx)) || failed(writeFile(stem + ".cubin", kernel.cubin))))
        return failure();
    }
    return success();
  };
  TranslateFromMLIRRegistration tileToCuda(
      "tile-to-cuda", "lower tile programs and print them as CUDA C++",
      [&](ModuleOp module, llvm::raw_ostream &os) { return compile(module, os, true); }, registerAllDialects);
  TranslateFromMLIRRegistration tileToCubin(
      "tile-to-cubin", "compile tile programs with NVRTC and print registers, shared memory and time",
      [&](ModuleOp module, llvm::raw_ostream &os) { return compile(module, os, false); }, registerAllDialects);
  return failed(mlirTranslateMain(argc, argv, "Inlay's translation driver"));
}
