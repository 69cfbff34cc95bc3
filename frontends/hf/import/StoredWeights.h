//===- StoredWeights.h - how a checkpoint stores weights, as attributes ----===//

#ifndef INLAY_FRONTENDS_HF_IMPORT_STOREDWEIGHTS_H
#define INLAY_FRONTENDS_HF_IMPORT_STOREDWEIGHTS_H

#include "dialects/llm/Llm.h"
#include "frontends/hf/Tensors.h"
#include "mlir/IR/Builders.h"

namespace inlay::hf {

/// A source of a weight: the name of a tensor, or `#llm.source`.
mlir::Attribute sourceAttr(mlir::Builder &builder, const WeightSource &source);
/// What the elements of a quantized weight mean; null for one of floats.
llm::QuantizedAttr quantizedAttr(mlir::Builder &builder, const WeightSpec &weight);
/// The type of the elements of a weight of a model of the type `type`.
mlir::Type storedType(const WeightSpec &weight, mlir::FloatType type);

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_IMPORT_STOREDWEIGHTS_H
