//===- Halves.h - attributes of steps that run in two halves ---------------===//
//
// `llm-overlap-collectives` writes them, the passes to the tile dialect hand them on to launches and entries, and the
// plan is built from these. plan.fbs says what they mean.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_DIALECTS_LLM_HALVES_H
#define INLAY_DIALECTS_LLM_HALVES_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Operation.h"

namespace inlay::llm {

/// How a group runs in steps of two halves of rows.
enum class Halves {
  Whole, // once, for all rows; has no attribute
  Main,  // for each half
  Side,  // for each half, beside what runs for the other one
};

/// Blocks of a sum that runs beside products, which leaves most multiprocessors to the products, whose blocks fill one
/// each. On two H200s, the sum of 1,024 rows of 4,096 columns takes 66 us on 32 blocks, that of 2,048 rows 60 us on
/// 132: more blocks have to be measured.
inline constexpr uint32_t kSumBlocksBeside = 32;

/// The attribute of a group or launch that runs in halves.
inline constexpr llvm::StringLiteral kHalvesAttr = "llm.halves";

inline Halves getHalves(mlir::Operation *op) {
  auto halves = op->getAttrOfType<mlir::StringAttr>(kHalvesAttr);
  return !halves ? Halves::Whole : halves.getValue() == "side" ? Halves::Side : Halves::Main;
}

inline void setHalves(mlir::Operation *op, Halves halves) {
  if (halves != Halves::Whole)
    op->setAttr(kHalvesAttr, mlir::StringAttr::get(op->getContext(), halves == Halves::Side ? "side" : "main"));
}

/// The attribute of a function or entry whose steps of at least `least_rows` rows run in halves. The first one has a
/// multiple of `multiple` rows.
struct HalvesOfSteps {
  static constexpr llvm::StringLiteral attributeName = "llm.halves_of_steps";

  int64_t leastRows = 0, multiple = 0;

  mlir::DictionaryAttr toAttribute(mlir::Builder &b) const {
    return b.getDictionaryAttr({b.getNamedAttr("least_rows", b.getI64IntegerAttr(leastRows)),
                                b.getNamedAttr("multiple", b.getI64IntegerAttr(multiple))});
  }
  /// Those of `op`; zeros if it has none.
  static HalvesOfSteps of(mlir::Operation *op) {
    auto attribute = op->getAttrOfType<mlir::DictionaryAttr>(attributeName);
    if (!attribute)
      return {};
    auto number = [&](llvm::StringRef name) { return attribute.getAs<mlir::IntegerAttr>(name).getInt(); };
    return {number("least_rows"), number("multiple")};
  }
};

} // namespace inlay::llm

#endif // INLAY_DIALECTS_LLM_HALVES_H
