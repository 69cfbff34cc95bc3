//===- SelectConfig.cpp - how families run programs on the chip ------------===//

#include "passes/tile/LinearTuning.h"
#include "passes/tile/Passes.h"
#include "llvm/Support/FormatVariadic.h"

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

FailureOr<DictionaryAttr> inlay::selectConfig(tile::ProgramOp program, tile::TargetAttr target) {
  if (auto given = program->getAttrOfType<DictionaryAttr>(kConfigAttr))
    return given;
  FailureOr<MainLoop> loop = findMainLoop(program);
  if (failed(loop))
    return failure();
  StringRef family = program->getAttrOfType<StringAttr>("family").getValue();
  return chooseLinear(family, shapeOf(*loop), target, program.getContext());
}

/// Measurements first, then the analytic model; a remark says which.
static LogicalResult select(tile::ProgramOp program, tile::TargetAttr target, const TuningFile &measured) {
  FailureOr<MainLoop> loop = findMainLoop(program);
  if (failed(loop))
    return failure();
  TuningKey key = tuningKeyOf(program, *loop);
  LinearShape shape = shapeOf(*loop);
  auto found = measured.entries.find(key);
  if (found == measured.entries.end()) {
    program->setAttr(kConfigAttr, chooseLinear(key.family, shape, target, program.getContext()));
    program.emitRemark() << "config by the analytic model: "
                         << (measured.path.empty() ? "no tuning file was given" : measured.path + " has no entry")
                         << " for " << key.toString();
    return success();
  }
  DictionaryAttr config = toAttribute(found->second, program.getContext());
  if (std::string problem = whyRefused(key.family, config, shape, target); !problem.empty())
    return program.emitError() << measured.path << ": the entry for " << key.toString() << " " << problem
                               << "; measure it again (compiler '" << found->second.compiler << "' did) or remove it";
  program->setAttr(kConfigAttr, config);
  program.emitRemark() << "config measured on " << measured.chip << ": " << key.toString() << " took "
                       << llvm::formatv("{0:f1}", found->second.microseconds) << " us";
  return success();
}

void SelectConfigPass::runOnOperation() {
  tile::TargetAttr target = tile::targetOf(getOperation());
  absl::StatusOr<TuningFile> measured = TuningFile::open(tuning, target.getArch().str());
  if (!measured.ok()) {
    getOperation().emitError() << std::string(measured.status().message());
    return signalPassFailure();
  }
  for (tile::ProgramOp program : getOperation().getOps<tile::ProgramOp>()) {
    auto family = program->getAttrOfType<StringAttr>("family");
    if (!family || !llvm::is_contained({"matvec", "gemm", "swap_ab"}, family.getValue()) ||
        program->hasAttr(kConfigAttr))
      continue;
    if (failed(select(program, target, *measured)))
      return signalPassFailure();
  }
}
