//===- Pointers.h - what a pointer of a kernel points at -------------------===//

#ifndef INLAY_PASSES_CUDA_POINTERS_H
#define INLAY_PASSES_CUDA_POINTERS_H

#include "dialects/cuda/Cuda.h"

namespace inlay {
/// The value that a pointer was computed from by offsets, casts and addresses of elements: a kernel's argument, a part
/// of shared memory, a variable; or whatever else it comes from.
mlir::Value baseOf(mlir::Value pointer);

/// Who writes what `op` accesses through `operand`, a pointer or a tensor map: what the op itself says, else what the
/// kernel's argument says (a readonly one: nobody). None if it is no memory of the device, or not known.
std::optional<cuda::Provenance> provenanceOf(mlir::Operation *op, mlir::Value operand);
/// The indices of all offsets between a pointer and its base, the last applied first.
llvm::SmallVector<mlir::Value> indicesOf(mlir::Value pointer);

/// Whether a call makes a matrix descriptor of wgmma from a pointer, which it does not read.
bool describesOperand(cuda::CallOp call);
/// The pointer that a matrix descriptor of wgmma was made from; null if that cannot be followed.
mlir::Value pointerOfDescriptor(mlir::Value descriptor);

/// Values that the address of an access is computed from, through integer arithmetic: the pointer's indices, `index`
/// (may be null) and theirs in turn.
llvm::SmallVector<mlir::Value> partsOf(mlir::Value pointer, mlir::Value index = {});

/// Whether two values are the same computation of the same values.
bool areEqual(mlir::Value x, mlir::Value y);

/// What a person calls the memory at `base`.
std::string nameOfMemory(mlir::Value base);
} // namespace inlay

#endif // INLAY_PASSES_CUDA_POINTERS_H
