//===- Placement.h - where a value of a step lies in memory ----------------===//
//
// `llm-plan-buffers` writes placements as attributes of groups,
// `convert-llm-to-tile` reads them. This file is their one form.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_LLM_TO_TILE_PLACEMENT_H
#define INLAY_PASSES_LLM_TO_TILE_PLACEMENT_H

#include "dialects/llm/Llm.h"
#include "mlir/IR/Builders.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

namespace inlay {

/// What the attribute `llm.entry` of a step's function says.
struct EntryShape {
  llvm::StringRef kind; // "decode" or "mixed"
  int64_t maxTokens = 0, maxSequences = 0;

  static mlir::FailureOr<EntryShape> of(mlir::Operation *function) {
    auto attr = function->getAttrOfType<mlir::DictionaryAttr>("llm.entry");
    auto kind = attr ? attr.getAs<mlir::StringAttr>("kind") : mlir::StringAttr();
    auto tokens = attr ? attr.getAs<mlir::IntegerAttr>("max_tokens") : mlir::IntegerAttr();
    auto sequences = attr ? attr.getAs<mlir::IntegerAttr>("max_sequences") : mlir::IntegerAttr();
    if (!kind || !tokens || !sequences)
      return function->emitError("needs an attribute llm.entry = {kind, max_tokens, max_sequences}");
    return EntryShape{kind.getValue(), tokens.getInt(), sequences.getInt()};
  }
};

/// A value with `columns` elements a row that starts at `column` of rows of `rowColumns`.
struct Placement {
  static constexpr llvm::StringLiteral attributeName = "llm.places"; // of a group: those of its results
  static constexpr llvm::StringLiteral argumentName = "llm.place";   // of a parameter

  enum class Kind { Workspace, Logits, Tokens } kind = Kind::Workspace;
  int64_t offset = 0;     // bytes into the workspace
  int64_t rowColumns = 0; // elements of a row of the buffer
  int64_t column = 0;     // first element of the value in a row
  bool logitRows = false; // rows are those whose logits are asked for, not the step's tokens

  static mlir::DictionaryAttr workspace(mlir::Builder &b, int64_t offset, int64_t rowColumns, int64_t column,
                                        bool logitRows) {
    return b.getDictionaryAttr({b.getNamedAttr("column", b.getI64IntegerAttr(column)),
                                b.getNamedAttr("logit_rows", b.getBoolAttr(logitRows)),
                                b.getNamedAttr("offset", b.getI64IntegerAttr(offset)),
                                b.getNamedAttr("row_columns", b.getI64IntegerAttr(rowColumns))});
  }
  static mlir::DictionaryAttr logits(mlir::Builder &b) {
    return b.getDictionaryAttr(b.getNamedAttr("logits", b.getUnitAttr()));
  }
  static mlir::DictionaryAttr tokens(mlir::Builder &b) {
    return b.getDictionaryAttr(b.getNamedAttr("tokens", b.getUnitAttr()));
  }

  /// The attribute that places `value`, a result of a group or rows that a stage receives; null if it has none.
  static mlir::DictionaryAttr attributeOf(mlir::Value value) {
    if (auto argument = llvm::dyn_cast<mlir::BlockArgument>(value)) {
      auto function = llvm::dyn_cast<mlir::FunctionOpInterface>(argument.getOwner()->getParentOp());
      return function ? function.getArgAttrOfType<mlir::DictionaryAttr>(argument.getArgNumber(), argumentName)
                      : mlir::DictionaryAttr();
    }
    auto group = value.getDefiningOp<llm::GroupOp>();
    auto places = group ? group->getAttrOfType<mlir::ArrayAttr>(attributeName) : mlir::ArrayAttr();
    if (!places)
      return {};
    return llvm::cast<mlir::DictionaryAttr>(places[llvm::cast<mlir::OpResult>(value).getResultNumber()]);
  }

  /// The place of `value`, which must have one.
  static Placement of(mlir::Value value) {
    mlir::DictionaryAttr attr = attributeOf(value);
    assert(attr && "value has no place; run llm-plan-buffers first");
    Placement place;
    auto columns = [&] { return llvm::cast<mlir::RankedTensorType>(value.getType()).getShape().back(); };
    if (attr.contains("logits")) {
      place.kind = Kind::Logits;
      place.rowColumns = columns();
      place.logitRows = true;
      return place;
    }
    if (attr.contains("tokens")) {
      place.kind = Kind::Tokens;
      place.rowColumns = 1;
      place.logitRows = true;
      return place;
    }
    auto number = [&](llvm::StringRef name) { return attr.getAs<mlir::IntegerAttr>(name).getInt(); };
    place.offset = number("offset");
    place.rowColumns = number("row_columns");
    place.column = number("column");
    place.logitRows = attr.getAs<mlir::BoolAttr>("logit_rows").getValue();
    return place;
  }
};

} // namespace inlay

#endif // INLAY_PASSES_LLM_TO_TILE_PLACEMENT_H
