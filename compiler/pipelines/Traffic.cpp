//===- Traffic.cpp - bytes that a kernel must move, and its flops ----------===//

#include "compiler/pipelines/Traffic.h"

#include "dialects/llm/Llm.h"

#include "mlir/IR/BuiltinOps.h"

#include <map>

using namespace mlir;
using namespace inlay;

namespace {

/// Amounts, keyed by the quantity that each is multiplied by ("fixed", an extent's name, "context" or "pairs").
using Amounts = std::map<std::string, int64_t>;

/// How a program uses one of its views.
struct Uses {
  bool loaded = false, stored = false;      // in rectangles
  bool gathered = false, scattered = false; // by indices
};

} // namespace

static Uses usesOf(BlockArgument view) {
  Uses uses;
  for (Operation *user : view.getUsers()) {
    auto collective = dyn_cast<tile::CollectiveOp>(user);
    uses.loaded |= isa<tile::LoadOp, tile::ReceiveSumOp>(user) || (collective && collective.getInput() == view);
    uses.gathered |= isa<tile::GatherOp>(user);
    uses.stored |= isa<tile::StoreOp>(user) || (collective && collective.getOutput() == view);
    uses.scattered |= isa<tile::ScatterOp>(user);
  }
  return uses;
}

/// How many numbers of a matrix an element of its view is: 1, or more of bytes with codes; 0 of scales.
static int64_t codesOfElement(BlockArgument view) {
  for (Operation *user : view.getUsers())
    for (Operation *next : user->getUsers())
      if (auto dequantize = dyn_cast<tile::DequantizeOp>(next)) {
        if (dequantize.getBytes().getDefiningOp() != user)
          return 0;
        auto bytes = cast<RankedTensorType>(dequantize.getBytes().getType());
        return cast<RankedTensorType>(dequantize.getResult().getType()).getNumElements() / bytes.getNumElements();
      }
  return 1;
}

/// The extent that counts a program's rows: the one in its grid, or Tokens.
static std::string rowExtent(tile::ProgramOp program) {
  std::string extent = tile::stringifyExtent(tile::Extent::Tokens).str();
  for (tile::Extent candidate : {tile::Extent::LogitRows, tile::Extent::PenaltyEntries})
    for (AffineExpr dimension : program.getGrid().getResults())
      if (dimension.isFunctionOfSymbol(static_cast<unsigned>(candidate)))
        extent = tile::stringifyExtent(candidate).str();
  return extent;
}

static int64_t modelSize(tile::ProgramOp program, StringRef name) {
  auto model = program->getParentOfType<ModuleOp>()->getAttrOfType<DictionaryAttr>("llm.model");
  auto size = model ? model.getAs<IntegerAttr>(name) : IntegerAttr();
  return size ? size.getInt() : 1;
}

static llvm::json::Object toJson(const Amounts &amounts) {
  llvm::json::Object object;
  for (const auto &[unit, amount] : amounts)
    if (amount != 0)
      object[unit] = amount;
  return object;
}

llvm::json::Object inlay::describeTraffic(tile::ProgramOp program) {
  Amounts reads, writes, flops;
  std::string rows = rowExtent(program);
  int64_t heads = modelSize(program, "heads"), kvHeads = modelSize(program, "kv_heads"),
          headDim = modelSize(program, "head_dim"), ranks = llm::getRanks(program);
  // Those of one rank.
  heads /= ranks;
  kvHeads /= std::min(kvHeads, ranks);
  for (BlockArgument argument : program.getBody().getArguments()) {
    auto view = cast<tile::ViewType>(argument.getType());
    ArrayRef<int64_t> shape = view.getShape();
    int64_t columns = 1;
    for (int64_t size : shape.drop_front())
      columns *= size;
    int64_t rowBytes = columns * llvm::divideCeil(view.getElementType().getIntOrFloatBitWidth(), 8);
    Uses uses = usesOf(argument);
    bool isKv = view.getProvenance() == tile::Provenance::Kv;
    // A dynamic view without an extent is either the heads of attention or a page table. Page tables are not counted:
    // their bytes are negligible compared with those of the pages.
    bool isHeads = !view.getExtent() && ShapedType::isDynamic(shape.front()) && columns == headDim;
    auto whole = [&](Amounts &amounts) {
      if (!ShapedType::isDynamic(shape.front()))
        amounts["fixed"] += shape.front() * rowBytes;
      else if (view.getExtent())
        amounts[tile::stringifyExtent(*view.getExtent()).str()] += rowBytes;
      else if (isHeads)
        amounts[rows] += heads * rowBytes;
    };
    auto indexed = [&](Amounts &amounts) {
      if (isHeads)
        amounts[rows] += heads * rowBytes;
      else if (view.getExtent() || !ShapedType::isDynamic(shape.front()))
        amounts[rows] += rowBytes;
    };
    if (isKv) {
      if (uses.gathered || uses.loaded) {
        reads["context"] += kvHeads * rowBytes;
        flops["pairs"] += 2 * heads * columns;
      }
      if (uses.scattered || uses.stored)
        writes[rows] += kvHeads * rowBytes;
      continue;
    }
    if (uses.loaded)
      whole(reads);
    else if (uses.gathered)
      indexed(reads);
    if (uses.stored)
      whole(writes);
    else if (uses.scattered)
      indexed(writes);
    if (view.getProvenance() == tile::Provenance::Weight && uses.loaded && shape.size() == 2)
      flops[rows] += 2 * shape.front() * columns * codesOfElement(argument);
  }
  llvm::json::Object result{{"reads", toJson(reads)}, {"writes", toJson(writes)}, {"flops", toJson(flops)}};
  if (auto window = program->getAttrOfType<IntegerAttr>("window"))
    result["window"] = window.getInt();
  return result;
}
