//===- inlay-translate.cpp - into and out of the dialects, for tests -------===//

#include "codegen/emit/PrintCuda.h"
#include "compiler/pipelines/Registration.h"
#include "frontends/hf/Import.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Tools/mlir-translate/MlirTranslateMain.h"
#include "mlir/Tools/mlir-translate/Translation.h"
#include "llvm/Support/CommandLine.h"

int main(int argc, char **argv) {
  inlay::hf::registerHuggingFaceTranslation();
  mlir::TranslateFromMLIRRegistration cudaToCpp(
      "cuda-to-cpp", "print the kernels of the cuda dialect as CUDA C++",
      [](mlir::ModuleOp module, llvm::raw_ostream &os) -> mlir::LogicalResult {
        for (inlay::cuda::KernelOp kernel : module.getOps<inlay::cuda::KernelOp>())
          if (failed(inlay::printCuda(kernel, os)))
            return mlir::failure();
        return mlir::success();
      },
      inlay::registerAllDialects);
  return mlir::failed(mlir::mlirTranslateMain(argc, argv, "Inlay's translation driver"));
}
