//===- CompileKernels.h - tile programs to CUDA kernels --------------------===//
//
// The driver's way in: every `tile.program` of a module becomes a kernel, through
// convert-tile-to-cuda, the passes on kernels, the printer and NVRTC.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_CODEGEN_EMIT_COMPILEKERNELS_H
#define INLAY_CODEGEN_EMIT_COMPILEKERNELS_H

#include "dialects/cuda/Cuda.h"
#include "dialects/tile/Tile.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <functional>
#include <string>
#include <vector>

namespace inlay {
struct CudaOptions {
  std::string arch = "sm_90a";
  /// libnvrtc, or a folder that holds it; empty: searched (codegen/emit/Nvrtc.h).
  std::string nvrtcPath;
  /// False: kernels wait for the one before as the first thing they do, to see what filling rings before is worth.
  bool fillsEarly = true;
  /// Kernels that are compiled at once; 0: one for each core.
  unsigned threads = 0;
  /// Where not empty, `#line` in the kernels' sources refers to a file of this name that holds the cuda dialect.
  std::string irName;
  /// Stop after printing: no NVRTC is needed; ptx and cubin stay empty.
  bool sourceOnly = false;
};

/// A kernel ready for a bundle.
struct CudaKernel {
  /// Its name, and all that a launch must know. Lives in CudaKernels::module.
  cuda::KernelOp op;
  std::string source, ptx, cubin;
  int registers = 0;
  int64_t spillBytes = 0;
  double nvrtcMilliseconds = 0;
};

struct CudaKernels {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::vector<CudaKernel> kernels; // in the order of the programs
  /// Where CudaOptions::irName is given: the text of the file that it names.
  std::string ir;
};

/// Lowers and compiles every tile.program of `module`, in order, but those that a library computes
/// (passes/tile/LibraryProduct.h). Programs are left as they are. A spill, a serialised
/// wgmma or an overflow of shared memory is an error at the program's location.
mlir::FailureOr<CudaKernels> compileCudaKernels(mlir::ModuleOp module, const CudaOptions &options);

/// A program that is compiled as one of several ways to compute the same.
struct CudaAlternative {
  mlir::OwningOpRef<mlir::ModuleOp> module; // of kernel.op
  CudaKernel kernel;
  std::string refusal; // the error for which there is no kernel; empty if there is one
};

/// Like compileCudaKernels, but each program for itself, several at a time: one that cannot be compiled stops no other,
/// and its error is no diagnostic. One alternative for each tile.program, in their order. `done` is called with the
/// number of those that are done, from any thread; false stops, and the rest is refused.
mlir::FailureOr<std::vector<CudaAlternative>> compileCudaAlternatives(mlir::ModuleOp module, const CudaOptions &options,
                                                                      const std::function<bool(size_t)> &done = {});
} // namespace inlay

#endif // INLAY_CODEGEN_EMIT_COMPILEKERNELS_H
