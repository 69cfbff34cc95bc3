//===- PlanTypes.h - the plan's names for types of elements ----------------===//

#ifndef INLAY_COMPILER_PIPELINES_PLANTYPES_H
#define INLAY_COMPILER_PIPELINES_PLANTYPES_H

#include "mlir/IR/Operation.h"
#include "runtime/bundle/plan_generated.h"

namespace inlay {

/// The plan's type of the floats that are `type`. Fails with an error at `op` for other types.
mlir::FailureOr<plan::DataType> planTypeOf(mlir::Operation *op, mlir::Type type);

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_PLANTYPES_H
