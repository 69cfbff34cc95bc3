//===- LinearTuning.h - measured configs and what a family can run ---------===//
//
// Where tile programs meet the file of measurements (tuning/TuningFile.h): the key
// of a program, the config that was measured for it, and whether its family can
// still run that.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_LINEARTUNING_H
#define INLAY_PASSES_TILE_LINEARTUNING_H

#include "passes/tile/LinearConfig.h"
#include "passes/tile/MainLoop.h"
#include "passes/tile/tuning/TuningFile.h"

#include <string>

namespace inlay {
LinearShape shapeOf(MainLoop &loop);
TuningKey tuningKeyOf(tile::ProgramOp program, MainLoop &loop);

/// The numbers of an entry as a program's attribute `config`.
mlir::DictionaryAttr toAttribute(const TuningEntry &entry, mlir::MLIRContext *context);

/// Why `family` cannot run a config for programs of `shape`; empty if it can. Registers are known only after ptxas ran.
std::string whyRefused(llvm::StringRef family, mlir::DictionaryAttr config, const LinearShape &shape,
                       tile::TargetAttr target);
} // namespace inlay

#endif // INLAY_PASSES_TILE_LINEARTUNING_H
