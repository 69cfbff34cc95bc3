//===- Llm.h - the llm dialect ---------------------------------------------===//
//
// The dialect's types, attributes and ops. Their meaning stands in LlmOps.td.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_DIALECTS_LLM_LLM_H
#define INLAY_DIALECTS_LLM_LLM_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/llm/LlmDialect.h.inc"
#include "dialects/llm/LlmEnums.h.inc"
#include "dialects/llm/LlmInterfaces.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/llm/LlmAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/llm/LlmTypes.h.inc"
#define GET_OP_CLASSES
#include "dialects/llm/LlmOps.h.inc"

namespace inlay::llm {

/// The library that may compute a linear (its attribute `library`), and the family of its group and program.
inline constexpr llvm::StringLiteral kCublasLt = "cublaslt";

/// The name that `op` has in the checkpoint, or its mnemonic where it has none.
llvm::StringRef getCheckpointName(mlir::Operation *op);

} // namespace inlay::llm

#endif // INLAY_DIALECTS_LLM_LLM_H
