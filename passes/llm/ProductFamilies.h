//===- ProductFamilies.h - which family of kernels computes a product ------===//
//
// A product is computed by one of several families of kernels (docs/glossary.md), by the rows of the step and by how
// its weight is stored. What joins the kernel is decided by llm-form-groups.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_LLM_PRODUCTFAMILIES_H
#define INLAY_PASSES_LLM_PRODUCTFAMILIES_H

#include "dialects/llm/Llm.h"
#include "dialects/tile/Tile.h"

#include <string>

namespace inlay::llm {

/// The families of a step of up to `maxRows` rows on one target. With `separateNorms`, no norm joins the kernel of a
/// product.
class ProductFamilies {
public:
  ProductFamilies(tile::TargetAttr target, bool isGpu, int64_t maxRows, bool separateNorms)
      : target(target), isGpu(isGpu), maxRows(maxRows), separateNorms(separateNorms) {}

  /// The family of `anchor`, a linear layer or attention. Where its weight has codes, a remark says why it is not the
  /// family of so few rows, or why it is the generic one.
  llvm::StringRef familyOf(mlir::Operation *anchor) const;

  /// Whether norms between two products of a step of so many rows are split.
  bool splitsNorms() const;
  /// Whether the kernel of `linear` multiplies its sums by what a split norm leaves.
  bool takesPartsOfNorms(LinearOp linear) const;

private:
  tile::TargetAttr target;
  bool isGpu;
  int64_t maxRows;
  bool separateNorms;

  /// Whether products stream their weights to so few rows.
  bool hasFewRows() const;
  /// Whether several rows are short and a norm would scale them.
  bool scalesShortRows(mlir::Operation *anchor) const;
  /// True if a norm could join the kernel of `anchor` and change its rows before the product.
  bool isScaled(mlir::Operation *anchor) const;
  /// Why the family matvec does not multiply by the codes of `weight`; empty if it does.
  std::string streamRefusal(mlir::Operation *anchor, WeightOp weight) const;
};

} // namespace inlay::llm

#endif // INLAY_PASSES_LLM_PRODUCTFAMILIES_H
