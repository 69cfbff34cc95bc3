//===- PackToTile.cpp - a program for each way in which weights are packed -===//
//
// The recipe of a linked weight, as far as it is work: rows of the sources, one
// source after the other, are put into the weight's order, converted and written
// into atoms. The loader hands a program some rows at a time, so that it needs no
// memory for a whole matrix; runtime/bundle/recipe.cpp does the same on the host.
//
//===----------------------------------------------------------------------===//

#include "dialects/tile/UniquePrograms.h"
#include "passes/llm_to_tile/ProgramBuilder.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;
using tile::Extent;
using tile::Provenance;

namespace inlay {
#define GEN_PASS_DEF_PACKTOTILEPASS
#include "passes/llm_to_tile/Passes.h.inc"
} // namespace inlay

/// Rows of an atom, which one block writes.
static constexpr int64_t atomRows = 8, atomColumns = 64;

/// Whether some rows of the weight can be packed without the others.
static bool isPackedInParts(WeightOp weight) {
  int64_t rows = weight.getTensorType().getDimSize(0);
  switch (weight.getRowOrder()) {
  case RowOrder::Plain:
    return true;
  case RowOrder::HalfPairs:
    return *weight.getHeadDim() % atomRows == 0;
  case RowOrder::Alternate:
    return rows % atomRows == 0;
  }
  llvm_unreachable("unknown row order");
}

/// The row of the source for each row of the weight from `first` on: the inverse of what RowOrder says, for the rows of
/// one launch. Rows past the last one have none.
static Value sourceRows(WeightOp weight, Value first, ProgramBuilder &b) {
  Value stored = b.add(b.iota(atomRows), b.splat(b.toI32(first), {atomRows}));
  Value two = b.like(stored, 2);
  switch (weight.getRowOrder()) {
  case RowOrder::Plain:
    return stored;
  case RowOrder::HalfPairs: {
    int64_t d = *weight.getHeadDim();
    Value inHead = b.rem(stored, b.like(stored, d));
    Value head = b.sub(stored, inHead);
    int64_t half = d / 2;
    Value inHalf = b.mul(b.rem(inHead, two), b.like(stored, half));
    return b.add(head, b.add(b.div(inHead, two), inHalf));
  }
  case RowOrder::Alternate: {
    Value rows = b.splat(b.toI32(tile::ExtentOp::create(b, b.getIndexType(), Extent::Tokens)), {atomRows});
    return b.add(b.div(stored, two), b.mul(b.rem(stored, two), b.div(rows, two)));
  }
  }
  llvm_unreachable("unknown row order");
}

/// The program that packs rows of `weight` from elements of `sourceType`; `Tokens` of them.
static tile::ProgramOp buildPack(WeightOp weight, Type sourceType, ProgramBuilder &b) {
  RankedTensorType type = weight.getTensorType();
  int64_t columns = type.getDimSize(1), padded = llvm::alignTo(columns, atomColumns), step = 512;
  while (padded % step != 0)
    step /= 2;
  Value source = b.view({ShapedType::kDynamic, columns}, sourceType, Provenance::Weight, Extent::Tokens,
                        /*memory=*/{});
  Value packed =
      b.view({ShapedType::kDynamic, padded}, type.getElementType(), Provenance::Output, std::nullopt,
             /*memory=*/{}, "atom_8x64", ProgramBuilder::count(b.getContext(), Extent::Tokens, atomRows, atomRows));
  Value row = arith::MulIOp::create(b, tile::ProgramIdOp::create(b, b.getIndexType(), 0), b.index(atomRows));
  Value column = arith::MulIOp::create(b, tile::ProgramIdOp::create(b, b.getIndexType(), 1), b.index(step));
  Value rows = b.gather(source, sourceRows(weight, row, b), column, step);
  Value converted = b.toType(sourceType == type.getElementType() ? rows : b.toF32(rows), type.getElementType());
  b.store(converted, packed, {row, column});
  return b.finish({ProgramBuilder::count(b.getContext(), Extent::Tokens, atomRows),
                   getAffineConstantExpr(padded / step, b.getContext())});
}

namespace {

struct PackToTilePass : inlay::impl::PackToTilePassBase<PackToTilePass> {
  using PackToTilePassBase::PackToTilePassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    Builder builder(&getContext());
    Type sources = llvm::StringSwitch<Type>(sourceType)
                       .Case("f32", builder.getF32Type())
                       .Case("bf16", builder.getBF16Type())
                       .Case("f16", builder.getF16Type())
                       .Default({});
    if (!sources) {
      module.emitError() << "--llm-pack-to-tile: source-type is '" << sourceType << "', expected f32, bf16 or f16";
      return signalPassFailure();
    }
    SymbolTable symbols(module);
    StepShape step;
    step.target = "gpu";
    tile::UniquePrograms programs;
    for (auto weight : llvm::to_vector(module.getOps<WeightOp>())) {
      if (weight.getPacking() != Packing::Atom8x64 || !weight.getSources() || !isPackedInParts(weight))
        continue;
      ProgramBuilder b(weight.getLoc(), step, symbols);
      tile::ProgramOp program = buildPack(weight, sources, b);
      StringAttr symbol = programs.insert(program,
                                          "pack_" + stringifyRowOrder(weight.getRowOrder()) + "_" +
                                              Twine(weight.getTensorType().getDimSize(1)),
                                          symbols);
      weight->setAttr("tile.pack", FlatSymbolRefAttr::get(symbol));
    }
  }
};

} // namespace
