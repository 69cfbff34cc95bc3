//===- RowScales.h - where a launch writes the scales of rows --------------===//
//
// `convert-llm-to-tile` writes this attribute of launches, and the calibration of
// activations reads it.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_DIALECTS_LLM_ROWSCALES_H
#define INLAY_DIALECTS_LLM_ROWSCALES_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"

#include <optional>
#include <string>
#include <vector>

namespace inlay::llm {

/// The attribute of a launch that computes an `llm.quantize` which finds scales.
inline constexpr llvm::StringLiteral kRowScalesAttr = "llm.row_scales";

/// Its value.
struct RowScales {
  int64_t argument = 0;             // of the launch: f32 [rows][groups]
  std::vector<std::string> weights; // that the rows are multiplied by

  mlir::DictionaryAttr toAttribute(mlir::Builder &b) const {
    llvm::SmallVector<llvm::StringRef> names(weights.begin(), weights.end());
    return b.getDictionaryAttr({b.getNamedAttr("argument", b.getI64IntegerAttr(argument)),
                                b.getNamedAttr("weights", b.getStrArrayAttr(names))});
  }
  /// Nothing if `launch` has no such attribute.
  static std::optional<RowScales> of(mlir::Operation *launch) {
    auto attribute = launch->getAttrOfType<mlir::DictionaryAttr>(kRowScalesAttr);
    if (!attribute)
      return std::nullopt;
    RowScales result{attribute.getAs<mlir::IntegerAttr>("argument").getInt(), {}};
    for (auto name : attribute.getAs<mlir::ArrayAttr>("weights").getAsRange<mlir::StringAttr>())
      result.weights.push_back(name.str());
    return result;
  }
};

} // namespace inlay::llm

#endif // INLAY_DIALECTS_LLM_ROWSCALES_H
