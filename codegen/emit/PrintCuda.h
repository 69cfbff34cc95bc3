//===- PrintCuda.h - the cuda dialect as CUDA C++ --------------------------===//
//
// The printer walks the IR, changes nothing and makes no decisions: each op is one
// construct of the text, and an unknown op is an error. Pure operations with one
// use are printed inside the expression that uses them.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_CODEGEN_EMIT_PRINTCUDA_H
#define INLAY_CODEGEN_EMIT_PRINTCUDA_H

#include "dialects/cuda/Cuda.h"
#include "llvm/Support/raw_ostream.h"

namespace inlay {
struct PrintCudaOptions {
  /// Emit `#line` for operations that have a file location.
  bool lineDirectives = false;
};

/// Prints a kernel as one translation unit.
mlir::LogicalResult printCuda(cuda::KernelOp kernel, llvm::raw_ostream &os, const PrintCudaOptions &options = {});
} // namespace inlay

#endif // INLAY_CODEGEN_EMIT_PRINTCUDA_H
