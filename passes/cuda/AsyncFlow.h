//===- AsyncFlow.h - follows the control flow of a kernel ------------------===//
//
// The part of cuda-verify-async that follows a kernel's control flow. Control and
// calls are in VerifyFlow.cpp, the checks of accesses and products in
// VerifyAccesses.cpp.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_CUDA_ASYNCFLOW_H
#define INLAY_PASSES_CUDA_ASYNCFLOW_H

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "passes/cuda/AsyncCalls.h"
#include "passes/cuda/AsyncState.h"
#include "passes/cuda/Pointers.h"
#include "passes/cuda/VerifyAsync.h"

namespace inlay {
class AsyncFlow {
  using Value = mlir::Value;
  using Operation = mlir::Operation;

public:
  explicit AsyncFlow(AsyncKernel &kernel) : kernel(kernel) {}
  void run();

private:
  void block(mlir::Block &block);
  void loop(Operation *op);
  void branch(mlir::scf::IfOp op);
  void statement(Operation *op);
  void call(cuda::CallOp op);
  void read(Operation *op, Value pointer, Value index = {}, bool byAsyncProxy = false);
  void useFilled(Operation *op, Value pointer, Value index, llvm::StringRef uses);
  void release(Operation *op, Value barrier);
  void releaseOldest(Operation *op, Value barrier);
  void write(Operation *op, Value pointer, Value index = {});
  void copy(cuda::CallOp op, const AsyncCall &what);
  void multiply(cuda::CallOp op);
  void useVariable(Operation *op, Value variable);
  void useBarrier(Operation *op, Value barrier);
  bool isOfLanes(Operation *op);
  void checkLanes(Operation *wait);
  std::string nameOf(Value pointer) const { return nameOfMemory(inlay::baseOf(pointer)); }

  AsyncKernel &kernel;
  AsyncState state;
};
} // namespace inlay

#endif // INLAY_PASSES_CUDA_ASYNCFLOW_H
