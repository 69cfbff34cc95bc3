#include "codegen/tile_to_cuda/Families.h"

mlir::LogicalResult inlay::lowerGeneric(tile::ProgramOp program, mlir::OpBuilder &builder, const CudaOptions &options,
                                        LoweredKernel &result) {
  return program.emitError("the generic family is not lowered to CUDA");
}
