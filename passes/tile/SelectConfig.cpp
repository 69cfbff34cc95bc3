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
  void runOnOperation() override;
};
} // namespace

FailureOr<DictionaryAttr> inlay::selectConfig(tile::ProgramOp program, const Chip &chip) {
  if (auto given = program->getAttrOfType<DictionaryAttr>(kConfigAttr))
    return given;
  FailureOr<MainLoop> loop = findMainLoop(program);
  if (failed(loop))
    return failure();
  LinearShape shape{loop->weight.getView().getType().getShape()[0], loop->k, loop->tokens};
  return program->getAttrOfType<StringAttr>("family").getValue() == "gemm"
             ? chooseGemm(shape, chip).toAttribute(program.getContext())
             : chooseMatvec(shape, chip).toAttribute(program.getContext());
}

void SelectConfigPass::runOnOperation() {
  for (tile::ProgramOp program : getOperation().getOps<tile::ProgramOp>()) {
    auto family = program->getAttrOfType<StringAttr>("family");
    if (!family || (family.getValue() != "matvec" && family.getValue() != "gemm"))
      continue;
    FailureOr<DictionaryAttr> config = selectConfig(program, kHopper);
    if (failed(config))
      return signalPassFailure();
    program->setAttr(kConfigAttr, *config);
  }
}
