//===- Cuda.h - the cuda dialect -------------------------------------------===//
//
// CUDA C++ syntax as ops. A lowering builds a `cuda.kernel` from these and from
// scalar arith, math and scf ops; codegen/emit/PrintCuda.h prints it. CudaOps.td
// says what each op is printed as.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_DIALECTS_CUDA_CUDA_H
#define INLAY_DIALECTS_CUDA_CUDA_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "runtime/bundle/step_sizes.h"

namespace inlay::cuda {
/// Discardable attribute of an scf.for: unroll the loop completely (unit attribute) or by a factor (integer).
constexpr llvm::StringLiteral kUnrollAttr = "cuda.unroll";
/// Attribute of an argument of a kernel: its name in the printed text.
constexpr llvm::StringLiteral kNameAttr = "cuda.name";
/// A ProvenanceAttr on an argument of a kernel, or on a load or call whose provenance is more precise than that of its
/// pointer.
constexpr llvm::StringLiteral kProvenanceAttr = "cuda.provenance";
/// The name of the opaque C++ type of the last parameter of every kernel.
constexpr llvm::StringLiteral kStepSizes = "StepSizes";

/// The number of sizes of a step. `cuda.size` and Count refer to a size by its number, which is less than this.
using inlay::kStepSizeCount;

/// `multiplier * ceil(size / divisor)`, where `size` is the number of a size of the step. kStepSizeCount means size 1.
struct Count {
  uint32_t size = kStepSizeCount;
  uint32_t divisor = 1;
  uint32_t multiplier = 1;

  bool isConstant() const { return size == kStepSizeCount; }
  bool operator==(const Count &) const = default;
  // NOLINTNEXTLINE(readability-identifier-naming): LLVM's hashing finds it by this name.
  friend llvm::hash_code hash_value(const Count &count) {
    return llvm::hash_combine(count.size, count.divisor, count.multiplier);
  }
};

/// Whether one load or store can move a value of this type.
bool isScalarOrVector(mlir::Type type);
/// Whether this is a CUtensorMap.
bool isTensorMap(mlir::Type type);
} // namespace inlay::cuda

#include "dialects/cuda/CudaDialect.h.inc"
#include "dialects/cuda/CudaEnums.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/cuda/CudaTypes.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/cuda/CudaAttrs.h.inc"
#define GET_OP_CLASSES
#include "dialects/cuda/CudaOps.h.inc"

namespace inlay::cuda {
/// Whether memory of this provenance may be read before `cuda.depend`.
inline bool isReadableEarly(Provenance provenance) { return provenance <= Provenance::OlderKv; }
/// The name of a kernel and of the model's ops that it computes, for messages.
std::string describe(KernelOp kernel);
} // namespace inlay::cuda

#endif // INLAY_DIALECTS_CUDA_CUDA_H
