//===- PlanTypes.cpp - the plan's names for types of elements --------------===//

#include "compiler/pipelines/PlanTypes.h"

using namespace mlir;
using namespace inlay;

FailureOr<plan::DataType> inlay::planTypeOf(Operation *op, Type type) {
  if (type.isF32())
    return plan::DataType_F32;
  if (type.isBF16())
    return plan::DataType_BF16;
  if (type.isF16())
    return plan::DataType_F16;
  return op->emitError() << "has elements of " << type << "; expected f32, bf16 or f16";
}
