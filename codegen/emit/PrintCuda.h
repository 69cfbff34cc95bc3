//===- PrintCuda.h - the cuda dialect as CUDA C++ --------------------------===//
//
// A read-only walk that decides nothing: one op is one construct, and an op that
// it does not know is a diagnostic. Pure operations with one use are printed
// where they are used.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_CODEGEN_EMIT_PRINTCUDA_H
#define INLAY_CODEGEN_EMIT_PRINTCUDA_H

#include "dialects/cuda/Cuda.h"
#include "llvm/Support/raw_ostream.h"

namespace inlay {
struct PrintCudaOptions {
  /// Emit `#line` for operations whose location is a place in a file.
  bool lineDirectives = false;
};

/// Prints a kernel as one translation unit.
mlir::LogicalResult printCuda(cuda::KernelOp kernel, llvm::raw_ostream &os, const PrintCudaOptions &options = {});
} // namespace inlay

#endif // INLAY_CODEGEN_EMIT_PRINTCUDA_H
