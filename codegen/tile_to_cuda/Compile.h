//===- Compile.h - tile programs to CUDA kernels ---------------------------===//
//
// The driver's way in: every `tile.program` of a module becomes a kernel, through
// the family's lowering (Families.h), the printer and NVRTC.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_CODEGEN_TILE_TO_CUDA_COMPILE_H
#define INLAY_CODEGEN_TILE_TO_CUDA_COMPILE_H

#include "dialects/cuda/Cuda.h"
#include "dialects/tile/Tile.h"
#include "mlir/IR/BuiltinOps.h"

#include <array>
#include <string>
#include <vector>

namespace inlay {
struct CudaOptions {
  std::string arch = "sm_90a";
  /// libnvrtc, or a folder that holds it; empty: searched (codegen/emit/Nvrtc.h).
  std::string nvrtcPath;
  /// Streaming multiprocessors of the chip, and blocks of matrix kernels that share one.
  int multiprocessors = 132;
  int slots = 2;
  /// False: kernels wait for the one before as the first thing they do, to see what filling rings before is worth.
  bool fillsEarly = true;
  /// Kernels that are compiled at once; 0: one for each core.
  unsigned threads = 0;
  /// Where not empty, `#line` in the kernels' sources refers to a file of this name that holds the cuda dialect.
  std::string irName;
  /// Stop after printing: no NVRTC is needed; ptx and cubin stay empty.
  bool sourceOnly = false;
};

/// multiplier * ceil(extent / divisor); extent 6 (One of plan.fbs) is 1.
struct GridCount {
  uint32_t extent = 6;
  uint32_t divisor = 1;
  uint32_t multiplier = 1;
};

/// A tensor map that a kernel takes after its pointers (plan.fbs).
struct CudaTensorMap {
  unsigned argument = 0;
  mlir::Type elementType;
  /// Innermost first. `capacityExtent` (-1: none): dims.back() is that size of the step at the entry's capacity, times
  /// what stands in dims.back().
  std::vector<uint64_t> dims;
  int capacityExtent = -1;
  std::vector<uint64_t> strides; // bytes, of dims[1..]
  std::vector<uint32_t> box;
  uint32_t swizzle = 0;     // bytes
  uint32_t l2Promotion = 0; // bytes
};

/// A kernel ready for a bundle.
struct CudaKernel {
  std::string name;
  std::string source, ptx, cubin;
  std::vector<GridCount> grid; // one to three, hardware blocks
  uint32_t block = 0;          // threads
  uint32_t cluster = 1;
  uint32_t sharedBytes = 0; // dynamic
  int registers = 0;
  int64_t spillBytes = 0;
  double nvrtcMilliseconds = 0;
  bool dependentLaunch = false;
  std::vector<CudaTensorMap> tensorMaps;
};

/// Lowers and compiles every tile.program of `module`, in order, but those that a library computes
/// (passes/tile/LibraryProduct.h). Programs are left as they are. A spill, a serialised
/// wgmma or an overflow of shared memory is an error at the program's location. `ir`, where not null, gets the text of
/// the file that CudaOptions::irName names.
mlir::LogicalResult compileCudaKernels(mlir::ModuleOp module, const CudaOptions &options,
                                       std::vector<CudaKernel> &kernels, std::string *ir = nullptr);
} // namespace inlay

#endif // INLAY_CODEGEN_TILE_TO_CUDA_COMPILE_H
