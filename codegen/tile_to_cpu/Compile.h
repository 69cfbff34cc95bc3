//===- Compile.h - tile programs to a shared library -----------------------===//
//
// The driver's way in: every `tile.program` of a module becomes a function of one
// shared library that needs nothing but libc and libm.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_CODEGEN_TILE_TO_CPU_COMPILE_H
#define INLAY_CODEGEN_TILE_TO_CPU_COMPILE_H

#include "mlir/IR/BuiltinOps.h"

#include <string>
#include <vector>

namespace inlay {
struct CpuOptions {
  /// LLVM's name of the CPU ("znver4", "x86-64-v3"); empty: this host.
  std::string cpu;
};

/// Kernels as a shared library.
struct CpuLibrary {
  std::string bytes;
  /// What a processor must have to run it, of those that the runtime knows (runtime/support/cpu_features.h).
  std::vector<std::string> features;
};

/// Compiles all tile.programs of `module` to one shared library. Each program becomes
///   extern "C" void NAME(void *const *args, const int32_t *sizes, int64_t x, int64_t y, int64_t z),
/// which computes block (x, y, z) of the grid: `args` holds a pointer for each view, `sizes` the step's sizes in the
/// order of tile::Extent. `const int32_t NAME_views` is the number of views. Programs are left as they are. An element
/// of a `tile.dot` is summed in an order that depends on its K alone, so a row has the same bits in any batch.
mlir::LogicalResult compileCpuKernels(mlir::ModuleOp module, const CpuOptions &options, CpuLibrary &library);
} // namespace inlay

#endif // INLAY_CODEGEN_TILE_TO_CPU_COMPILE_H
