//===- inlay-translate.cpp - imports configurations and prints CUDA C++ ----===//

#include "codegen/emit/PrintCuda.h"
#include "codegen/tile_to_cuda/Compile.h"
#include "compiler/pipelines/Registration.h"
#include "frontends/hf/import/Import.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Tools/mlir-translate/MlirTranslateMain.h"
#include "mlir/Tools/mlir-translate/Translation.h"
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

/// How to launch a kernel, for the GPU checks: grid counts are [extent, divisor, multiplier] as in plan.fbs, tensor
/// maps [argument, dims, strides, box, swizzle, extent that multiplies the last of dims or -1].
static std::string launchOf(const CudaKernel &kernel) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "{\"name\": \"" << kernel.name << "\", \"block\": " << kernel.block << ", \"cluster\": " << kernel.cluster
     << ", \"shared_bytes\": " << kernel.sharedBytes << ", \"grid\": [";
  llvm::interleaveComma(kernel.grid, os, [&](const GridCount &count) {
    os << "[" << count.extent << ", " << count.divisor << ", " << count.multiplier << "]";
  });
  os << "], \"maps\": [";
  llvm::interleaveComma(kernel.tensorMaps, os, [&](const CudaTensorMap &map) {
    auto list = [&](const auto &numbers) {
      os << ", [";
      llvm::interleaveComma(numbers, os);
      os << "]";
    };
    os << "[" << map.argument;
    list(map.dims);
    list(map.strides);
    list(map.box);
    os << ", " << map.swizzle << ", " << map.capacityExtent << "]";
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
    CudaOptions options;
    options.nvrtcPath = nvrtc;
    options.arch = arch;
    options.irName = savedIr;
    options.sourceOnly = sourceOnly;
    std::vector<CudaKernel> kernels;
    std::string ir;
    if (failed(compileCudaKernels(module, options, kernels, &ir)) ||
        (!savedIr.empty() && failed(writeFile(savedIr.getValue(), ir))))
      return failure();
    for (const CudaKernel &kernel : kernels) {
      if (sourceOnly)
        os << kernel.source << "\n";
      else
        os << kernel.name << ": " << kernel.block << " threads, cluster " << kernel.cluster << ", " << kernel.registers
           << " registers, " << kernel.spillBytes << " bytes spilled, " << kernel.sharedBytes << " bytes shared, "
           << static_cast<int>(kernel.nvrtcMilliseconds) << " ms\n";
      if (folder.empty())
        continue;
      llvm::SmallString<128> stem(folder.getValue());
      llvm::sys::path::append(stem, kernel.name);
      if (llvm::sys::fs::create_directories(folder) || failed(writeFile(stem + ".cu", kernel.source)) ||
          failed(writeFile(stem + ".json", launchOf(kernel))))
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
