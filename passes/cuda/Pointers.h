//===- Pointers.h - what a pointer of a kernel points to -------------------===//

#ifndef INLAY_PASSES_CUDA_POINTERS_H
#define INLAY_PASSES_CUDA_POINTERS_H

#include "dialects/cuda/Cuda.h"

namespace inlay {
/// The value that a pointer was derived from through offsets, casts and addresses of elements: an argument of the
/// kernel, a cuda.shared, a variable, or another value that cannot be followed further.
mlir::Value baseOf(mlir::Value pointer);

/// The provenance of the memory that `op` accesses through `operand`, a pointer or a tensor map. An attribute of `op`
/// takes precedence over one of the kernel's argument. Readonly memory without either has the provenance weight. None
/// if the memory is not device memory, or if its provenance is unknown.
std::optional<cuda::Provenance> provenanceOf(mlir::Operation *op, mlir::Value operand);
/// The indices of all offsets between a pointer and its base, starting with the one applied last.
llvm::SmallVector<mlir::Value> indicesOf(mlir::Value pointer);

/// Whether a call makes a wgmma matrix descriptor from a pointer, without reading the memory.
bool describesOperand(cuda::CallOp call);
/// The pointer that a matrix descriptor of wgmma was made from; null if that cannot be followed.
mlir::Value pointerOfDescriptor(mlir::Value descriptor);

/// The integer values that the address of an access is computed from: the pointer's indices, `index` (may be null) and,
/// transitively, their operands.
llvm::SmallVector<mlir::Value> partsOf(mlir::Value pointer, mlir::Value index = {});

/// Whether two values are equal constants or results of the same arithmetic on equal values.
bool areEqual(mlir::Value x, mlir::Value y);

/// The name of the memory at `base`, for messages.
std::string nameOfMemory(mlir::Value base);
} // namespace inlay

#endif // INLAY_PASSES_CUDA_POINTERS_H
