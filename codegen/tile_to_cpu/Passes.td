//===- Passes.td - from tile programs to loops over vectors ----------------===//

#ifndef INLAY_CODEGEN_TILE_TO_CPU_PASSES
#define INLAY_CODEGEN_TILE_TO_CPU_PASSES

include "mlir/Pass/PassBase.td"

def ConvertTileToCpuPass : Pass<"convert-tile-to-cpu", "::mlir::ModuleOp"> {
  let summary = "Lowers tile programs to functions with loops over vectors.";
  let description = [{
    Each `tile.program` becomes a `func.func` with the kernel ABI of the cpu target. A
    tile is either an expression, computed one vector at a time in the loop of its
    consumer, or stored in scratch memory on the stack: loop-carried values, products,
    reductions, and costly expressions with more than one consumer.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::func::FuncDialect", "::mlir::math::MathDialect",
                           "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect"];
}

def ExpandCpuMathPass : Pass<"expand-cpu-math", "::mlir::ModuleOp"> {
  let summary = "Expands math functions and bf16 conversions to polynomials and integer arithmetic.";
  let description = [{
    The results run on whole vectors and call no library. `exp` and `exp2` give 0 for
    results under 2^-126.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::vector::VectorDialect"];
}

#endif // INLAY_CODEGEN_TILE_TO_CPU_PASSES
