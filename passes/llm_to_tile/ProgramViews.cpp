//===- ProgramViews.cpp - the memory that a tile program reads and writes --===//

#include "passes/llm_to_tile/ProgramBuilder.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::tile;

Value ProgramBuilder::view(ArrayRef<int64_t> shape, Type elementType, Provenance provenance,
                           std::optional<Extent> extent, MemoryAttr memory, StringRef packing, AffineExpr rows) {
  auto type = ViewType::get(getContext(), shape, elementType, provenance, extent);
  for (auto [i, known] : llvm::enumerate(launchArguments))
    if (memory && known == memory && program.getBody().getArgument(i).getType() == type)
      return program.getBody().getArgument(i);
  launchArguments.push_back(memory);
  SmallVector<NamedAttribute> attributes;
  if (!packing.empty())
    attributes.push_back(getNamedAttr("tile.packing", getStringAttr(packing)));
  if (rows)
    attributes.push_back(
        getNamedAttr("tile.rows", AffineMapAttr::get(AffineMap::get(0, getMaxEnumValForExtent() + 1, rows))));
  argumentAttributes.push_back(getDictionaryAttr(attributes));
  return program.getBody().addArgument(type, getLoc());
}

Value ProgramBuilder::metadata(StringRef name, Type elementType, Extent extent) {
  std::optional<Metadata> array = symbolizeMetadata(name);
  if (!array)
    llvm::report_fatal_error("'" + llvm::Twine(name) + "' is no array of enum Metadata of plan.fbs");
  return view({ShapedType::kDynamic}, elementType, Provenance::Meta, extent, MemoryAttr::get(getContext(), *array));
}

Value ProgramBuilder::pageTable() {
  return view({ShapedType::kDynamic}, getI32Type(), Provenance::Meta, std::nullopt,
              MemoryAttr::get(getContext(), Metadata::PageTable), /*packing=*/"",
              count(getContext(), Extent::Sequences, 1, step.pagesPerSequence()));
}

Value ProgramBuilder::weight(FlatSymbolRefAttr symbol) {
  Operation *op = symbols.lookup(symbol.getValue());
  auto memory = MemoryAttr::get(symbol);
  if (auto table = dyn_cast<llm::RopeTableOp>(op)) {
    auto type = cast<RankedTensorType>(table.getType());
    return view(type.getShape(), type.getElementType(), Provenance::Weight, std::nullopt, memory);
  }
  auto weight = cast<llm::WeightOp>(op);
  RankedTensorType type = weight.getTensorType();
  if (weight.getPacking() == llm::Packing::Codes16x128)
    return view(type.getShape(), getIntegerType(type.getElementTypeBitWidth()), Provenance::Weight, std::nullopt,
                memory, kCodesPacking);
  // Codes are bytes.
  if (weight.getQuantized())
    return view({type.getDimSize(0), type.getDimSize(1) * type.getElementTypeBitWidth() / 8}, getI8Type(),
                Provenance::Weight, std::nullopt, memory);
  StringRef packing;
  if (weight.getPacking() == llm::Packing::Atom8x64)
    packing = kAtomPacking;
  else if (weight.getPacking() == llm::Packing::Rows16)
    packing = kRowsPacking;
  return view(type.getShape(), type.getElementType(), Provenance::Weight, std::nullopt, memory, packing);
}

Value ProgramBuilder::weightCodes(FlatSymbolRefAttr symbol) {
  RankedTensorType type = cast<llm::WeightOp>(symbols.lookup(symbol.getValue())).getTensorType();
  bool isPacked = cast<llm::WeightOp>(symbols.lookup(symbol.getValue())).getPacking() == llm::Packing::Codes16x128;
  return view(type.getShape(), type.getElementType(), Provenance::Weight, std::nullopt, MemoryAttr::get(symbol),
              isPacked ? StringRef(kCodesPacking) : "");
}

Value ProgramBuilder::weightVector(FlatSymbolRefAttr symbol) {
  RankedTensorType type = cast<llm::WeightOp>(symbols.lookup(symbol.getValue())).getTensorType();
  return view({type.getNumElements()}, type.getElementType(), Provenance::Weight, std::nullopt,
              MemoryAttr::get(symbol));
}

/// The memory of `value` as the launch names it, and the extent of its rows.
static std::pair<MemoryAttr, Extent> memoryOf(ProgramBuilder &b, Value value, const Placement &place) {
  Extent extent = place.logitRows ? Extent::LogitRows : Extent::Tokens;
  switch (place.kind) {
  case Placement::Kind::Logits:
    return {MemoryAttr::get(b.getContext(), MemoryKind::Logits), extent};
  case Placement::Kind::Tokens:
    return {MemoryAttr::get(b.getContext(), MemoryKind::Tokens), extent};
  case Placement::Kind::Workspace:
    return {MemoryAttr::get(b.getContext(), MemoryKind::Workspace, place.offset), extent};
  }
  llvm_unreachable("unknown placement");
}

Value ProgramBuilder::activation(Value value, Provenance provenance) {
  if (isa<BlockArgument>(value) && getElementTypeOrSelf(value).isInteger()) // the ids of the step
    return metadata("TokenIds", getI32Type(), Extent::Tokens);
  Placement place = Placement::of(value);
  auto [memory, extent] = memoryOf(*this, value, place);
  auto type = cast<RankedTensorType>(value.getType());
  if (type.getRank() == 1)
    return view({ShapedType::kDynamic}, type.getElementType(), provenance, extent, memory);
  return view({ShapedType::kDynamic, place.rowColumns}, type.getElementType(), provenance, extent, memory);
}

Value ProgramBuilder::activationCodes(Value value, Provenance provenance, llm::Packing packing) {
  Placement place = Placement::of(value);
  auto [memory, extent] = memoryOf(*this, value, place);
  auto type = cast<RankedTensorType>(value.getType());
  return view({ShapedType::kDynamic, place.rowColumns}, type.getElementType(), provenance, extent, memory,
              packing == llm::Packing::Codes16x128 ? StringRef(kCodeRowsPacking) : "");
}

Value ProgramBuilder::activationVector(Value value, Provenance provenance) {
  Placement place = Placement::of(value);
  assert(place.rowColumns == 1 && "value lies beside others");
  auto [memory, extent] = memoryOf(*this, value, place);
  auto type = cast<RankedTensorType>(value.getType());
  return view({ShapedType::kDynamic}, type.getElementType(), provenance, extent, memory);
}

Value ProgramBuilder::activationRows(Value value, int64_t columns, Provenance provenance) {
  Placement place = Placement::of(value);
  auto type = cast<RankedTensorType>(value.getType());
  auto [memory, extent] = memoryOf(*this, value, place);
  return view({ShapedType::kDynamic, columns}, type.getElementType(), provenance, std::nullopt, memory, /*packing=*/"",
              count(getContext(), extent, 1, place.rowColumns / columns));
}

Value ProgramBuilder::activationElements(Value value, Provenance provenance) {
  Placement place = Placement::of(value);
  auto type = cast<RankedTensorType>(value.getType());
  auto [memory, extent] = memoryOf(*this, value, place);
  return view({ShapedType::kDynamic}, type.getElementType(), provenance, std::nullopt, memory, /*packing=*/"",
              count(getContext(), extent, 1, place.rowColumns));
}

Value ProgramBuilder::cache(bool keys, int64_t layer, int64_t headDim, Type elementType) {
  return view({ShapedType::kDynamic, headDim}, elementType, Provenance::Kv, Extent::KvRows,
              MemoryAttr::get(getContext(), keys ? MemoryKind::KeyCache : MemoryKind::ValueCache, layer));
}

Value ProgramBuilder::cacheScale(FlatSymbolRefAttr name, Value head) {
  return name ? ReadOp::create(*this, getF32Type(), weightVector(name), ValueRange{head}).getResult() : Value();
}
