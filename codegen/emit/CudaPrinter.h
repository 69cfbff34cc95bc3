//===- CudaPrinter.h - what prints a kernel as CUDA C++ -------------------===//
//
// Names, types and statements are in PrintCuda.cpp, expressions in PrintExpressions.cpp.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_CODEGEN_EMIT_CUDAPRINTER_H
#define INLAY_CODEGEN_EMIT_CUDAPRINTER_H

#include "codegen/emit/PrintCuda.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

namespace inlay::cuda {
/// The text of a value.
struct Expression {
  std::string text;
  bool atomic; // needs no parentheses inside another expression
};

/// Types that are stored, and converted to compute with them.
inline bool isSmallFloat(mlir::Type type) {
  return type.isBF16() || type.isF16() || mlir::isa<mlir::Float8E4M3FNType>(type);
}

/// Operations that are printed as calls of a function with the same operands, and the function.
const llvm::StringMap<const char *> &functionsOfOps();

class CudaPrinter {
public:
  CudaPrinter(llvm::raw_ostream &os, const PrintCudaOptions &options) : os(os), options(options) {}
  mlir::LogicalResult print(KernelOp kernel);

private:
  mlir::FailureOr<std::string> typeName(mlir::Type type, mlir::Location loc);
  mlir::FailureOr<std::string> unsignedTypeName(mlir::Type type, mlir::Location loc);
  std::string unique(llvm::StringRef wanted);
  std::string nameFor(mlir::Operation *op, llvm::StringRef fallback);
  llvm::raw_ostream &line();
  std::string operand(mlir::Value value);
  std::string whole(mlir::Value value) { return values.lookup(value).text; }

  mlir::FailureOr<Expression> expression(mlir::Operation *op);
  mlir::FailureOr<Expression> constant(mlir::arith::ConstantOp op);
  mlir::FailureOr<Expression> conversion(mlir::Operation *op);
  mlir::FailureOr<Expression> access(mlir::Operation *op, mlir::Value base, mlir::Value index, mlir::Type type,
                                     bool write, Cache cache);
  std::string element(mlir::Value variable, mlir::OperandRange indices);
  bool isInlined(mlir::Operation *op, llvm::StringRef text);

  mlir::LogicalResult block(mlir::Block &block);
  mlir::LogicalResult statement(mlir::Operation *op);
  mlir::LogicalResult declare(mlir::Operation *op, mlir::Value value, const Expression &expression);
  mlir::LogicalResult declareResults(mlir::Operation *op, mlir::ValueRange initial);
  mlir::LogicalResult assign(mlir::ValueRange targets, mlir::ValueRange sources);
  mlir::LogicalResult forOp(mlir::scf::ForOp op);
  mlir::LogicalResult ifOp(mlir::scf::IfOp op);
  mlir::LogicalResult whileOp(mlir::scf::WhileOp op);

  llvm::raw_ostream &os;
  const PrintCudaOptions &options;
  llvm::DenseMap<mlir::Value, Expression> values;
  llvm::StringSet<> taken;
  std::string sizes;          // name of the parameter of type StepSizes
  mlir::FileLineColLoc place; // of the current statement, until its first line is printed; null otherwise
  unsigned indent = 0;
};
} // namespace inlay::cuda

#endif // INLAY_CODEGEN_EMIT_CUDAPRINTER_H
