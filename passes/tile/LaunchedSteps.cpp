//===- LaunchedSteps.cpp - the steps in which a program is launched --------===//

#include "passes/tile/LaunchedSteps.h"

#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace inlay;

LaunchedSteps inlay::launchedSteps(tile::ProgramOp program) {
  LaunchedSteps steps;
  for (auto entry : program->getParentOfType<ModuleOp>().getOps<tile::EntryOp>()) {
    auto isOwn = [&](tile::LaunchOp launch) { return launch.getProgram() == program.getSymName(); };
    if (llvm::none_of(entry.getBody().getOps<tile::LaunchOp>(), isOwn))
      continue;
    steps.entries.push_back(entry);
    steps.isDecode &= entry.getKind() == tile::EntryKind::Decode;
    steps.sequences = std::max<int64_t>(steps.sequences, entry.getMaxSequences());
    steps.queryTileRows = std::max<int64_t>(steps.queryTileRows, entry.getQueryTileRows());
  }
  return steps;
}

SmallVector<tile::ProgramOp> inlay::launchedPrograms(tile::EntryOp entry) {
  SetVector<StringAttr> names;
  for (auto launch : entry.getBody().getOps<tile::LaunchOp>())
    names.insert(launch.getProgramAttr().getAttr());
  SmallVector<tile::ProgramOp> programs;
  for (StringAttr name : names)
    if (auto program = SymbolTable::lookupNearestSymbolFrom<tile::ProgramOp>(entry, name))
      programs.push_back(program);
  return programs;
}
