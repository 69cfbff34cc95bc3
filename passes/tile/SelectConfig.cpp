//===- SelectConfig.cpp - how families run programs on the chip ------------===//

#include "passes/tile/LinearConfig.h"
#include "passes/tile/MainLoop.h"
#include "passes/tile/Passes.h"

namespace inlay {
#define GEN_PASS_DEF_SELECTCONFIGPASS
#include "passes/tile/Passes.h.inc"
} // namespace inlay

using namespace mlir;
using namespace inlay;

namespace {
struct SelectConfigPass : inlay::impl::SelectConfigPassBase<SelectConfigPass> {
  using SelectConfigPassBase::SelectConfigPassBase;
  void runOnOperation() override;
};
} // namespace

FailureOr<DictionaryAttr> inlay::selectConfig(tile::ProgramOp program, const Chip &chip) {
  if (auto given = program->getAttrOfType<DictionaryAttr>(kConfigAttr))
    return given;
  FailureOr<MainLoop> loop = findMainLoop(program);
  if (failed(loop))
    return failure();
  LinearShape shape{loop->weight.getView().getType().getShape()[0], loop->k, loop->tokens, !loop->vectors.empty()};
  StringRef family = program->getAttrOfType<StringAttr>("family").getValue();
  MLIRContext *context = program.getContext();
  if (family == "gemm")
    return chooseGemm(shape, chip).toAttribute(context);
  if (family == "swap_ab")
    return chooseSwapAb(shape, chip).toAttribute(context);
  return chooseMatvec(shape, chip).toAttribute(context);
}

void SelectConfigPass::runOnOperation() {
  Chip chip = kHopper;
  if (multiprocessors > 0)
    chip.multiprocessors = multiprocessors;
  for (tile::ProgramOp program : getOperation().getOps<tile::ProgramOp>()) {
    auto family = program->getAttrOfType<StringAttr>("family");
    if (!family || !llvm::is_contained({"matvec", "gemm", "swap_ab"}, family.getValue()))
      continue;
    FailureOr<DictionaryAttr> config = selectConfig(program, chip);
    if (failed(config))
      return signalPassFailure();
    program->setAttr(kConfigAttr, *config);
  }
}
