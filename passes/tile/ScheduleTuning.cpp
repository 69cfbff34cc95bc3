//===- ScheduleTuning.cpp - measured schedules and what a program takes ----===//

#include "passes/tile/ScheduleTuning.h"

#include "fmt/format.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Diagnostics.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>

using namespace mlir;
using namespace inlay;
using tile::kAtomBytes, tile::kAtomColumns, tile::kGroupRows;

LinearShape inlay::shapeOf(MainLoop &loop) {
  LinearShape shape{loop.weight.getView().getType().getShape()[0], loop.k, loop.tokens, !loop.vectors.empty()};
  shape.weightBits = loop.weight.getView().getType().getElementType().getIntOrFloatBitWidth();
  if (tile::DequantizeOp op = loop.dequantize; op && op.getGroup() > 0)
    shape.groupBytes =
        llvm::divideCeil(tile::kUnitColumns, op.getGroup()) * 4 * ((op.getScales() ? 1 : 0) + (op.getZeros() ? 1 : 0));
  return shape;
}

/// What a program does with its product, as far as it costs: a rotation and three destinations, pairs of columns, or a
/// read of what is added to.
static std::string epilogueOf(tile::ProgramOp program, MainLoop &loop) {
  bool splitsPairs = false, branches = false, adds = false;
  program.walk([&](Operation *op) {
    if (loop.loop->isAncestor(op))
      return;
    splitsPairs |= isa<tile::DeinterleaveOp>(op);
    branches |= isa<scf::IfOp>(op);
    if (auto load = dyn_cast<tile::LoadOp>(op))
      adds |= load.getView().getType().getProvenance() == tile::Provenance::State;
  });
  return splitsPairs ? (branches ? "rope" : "gated") : adds ? "residual" : "store";
}

TuningKey inlay::tuningKeyOf(tile::ProgramOp program, MainLoop &loop) {
  LinearShape shape = shapeOf(loop);
  Type element = loop.weight.getView().getType().getElementType();
  StringRef type = loop.dequantize       ? tile::stringifyCodes(loop.dequantize.getCodes())
                   : element.isBF16()    ? "bf16"
                   : element.isF16()     ? "f16"
                   : element.isInteger() ? "i8"
                                         : "f8e4m3";
  return {program.getScheduleAttr().getFamilyName().str(),
          shape.rows,
          shape.columns,
          shape.k,
          type.str(),
          shape.isScaled ? "norm" : "none",
          epilogueOf(program, loop)};
}

static std::string sharedProblem(int64_t needed, int64_t most) {
  return needed <= most ? "" : fmt::format("needs {} bytes of shared memory, expected at most {}", needed, most);
}

static std::string rangeProblem(const char *name, int64_t value, int64_t least, int64_t most) {
  return least <= value && value <= most ? ""
                                         : fmt::format("has {} of {}, expected {} to {}", name, value, least, most);
}

/// The first that says something.
static std::string firstOf(std::initializer_list<std::string> problems) {
  for (const std::string &problem : problems)
    if (!problem.empty())
      return problem;
  return "";
}

static std::string whyRefused(tile::MatvecAttr schedule, const LinearShape &shape, tile::TargetAttr target) {
  int64_t groups = llvm::divideCeil(shape.columns, kGroupRows), rows = chooseMatvec(shape, target).getRows();
  int64_t groupsOfBlock = llvm::divideCeil(groups, schedule.getBlocks());
  std::string range = firstOf({rangeProblem("blocks", schedule.getBlocks(), 1, groups),
                               rangeProblem("groups", schedule.getGroups(), 1, groupsOfBlock),
                               rangeProblem("rows", schedule.getRows(), rows, rows)});
  if (!range.empty())
    return range;
  // As the lowering lays them out: rings, the staged row or the vectors that scale several, sums.
  int64_t warps = schedule.getWarps(), chunkAtoms = schedule.getChunkAtoms(), stages = schedule.getStages();
  int64_t chunks = llvm::divideCeil(llvm::divideCeil(shape.k, kAtomColumns), chunkAtoms);
  int64_t most = llvm::divideCeil(chunks, warps) * chunkAtoms * kAtomColumns * 2;
  int64_t rings = warps * stages * chunkAtoms * kAtomBytes;
  int64_t batch = schedule.getGroups() * warps * rows * kGroupRows * 4;
  bool isOneBatch = groupsOfBlock <= schedule.getGroups();
  if (!isOneBatch && schedule.getPartialBytes() < batch)
    return fmt::format("has partial_bytes of {}, expected at least {}", schedule.getPartialBytes(), batch);
  int64_t staged = rows == 1 ? warps * most : shape.isScaled ? chunks * chunkAtoms * 128 : 0;
  int64_t needed =
      (isOneBatch ? std::max(rings, batch) : rings + schedule.getPartialBytes()) + staged + warps * stages * 8;
  return firstOf({sharedProblem(schedule.getSharedBytes(), target.slotSharedBytes(schedule.getSlots())),
                  sharedProblem(needed, schedule.getSharedBytes())});
}

static std::string whyRefused(tile::GemmAttr schedule, const LinearShape &shape, tile::TargetAttr target) {
  int64_t step = 8 * tile::kSlabBytes / shape.weightBits;
  return firstOf({rangeProblem("blocks", schedule.getBlocks(), 1, 64 * target.getMultiprocessors()),
                  rangeProblem("tile_k", schedule.getTileK(), step, step),
                  sharedProblem(schedule.getStages() * schedule.stageBytes() + schedule.stagedBytes() + kBarrierBytes,
                                target.getBlockSharedBytes())});
}

static std::string whyRefused(tile::SwapAbAttr schedule, const LinearShape &shape, tile::TargetAttr target) {
  int64_t rows = tile::swapAbTileRows(shape.rows);
  if (std::string range = rangeProblem("tile_rows", schedule.getTileRows(), rows, rows); !range.empty())
    return range;
  if (!schedule.givesEachBlockSteps(shape.k))
    return fmt::format("splits {} steps of k over {} blocks, expected each to have one",
                       llvm::divideCeil(shape.k, schedule.getTileK()), schedule.getSplit());
  int64_t stageBytes = schedule.stageBytes(shape.weightBits) + schedule.getTileColumns() * shape.groupBytes;
  int64_t needed = std::max(schedule.getStages() * stageBytes, schedule.sumsBytes()) + kBarrierBytes;
  return firstOf({sharedProblem(schedule.getSharedBytes(), target.slotSharedBytes(schedule.getSlots())),
                  sharedProblem(needed, schedule.getSharedBytes())});
}

/// The numbers of `entry` in the order of `names`; empty, and why in `problem`, where the names differ.
static SmallVector<int64_t> numbersOf(const TuningEntry &entry, ArrayRef<llvm::StringLiteral> names,
                                      std::string &problem) {
  for (const auto &[name, value] : entry.config)
    if (!llvm::is_contained(names, name)) {
      problem = fmt::format("has '{}', which the family does not know", name);
      return {};
    }
  SmallVector<int64_t> numbers;
  for (StringRef name : names) {
    auto found = entry.config.find(name.str());
    if (found == entry.config.end()) {
      problem = fmt::format("lacks '{}'", name.str());
      return {};
    }
    numbers.push_back(found->second);
  }
  return numbers;
}

/// The schedule of the kind `Attr`.
template <typename Attr>
static tile::Schedule measured(const TuningEntry &entry, const LinearShape &shape, tile::TargetAttr target,
                               std::string &problem) {
  SmallVector<int64_t> numbers = numbersOf(entry, Attr::kNames, problem);
  if (numbers.empty())
    return {};
  MLIRContext *context = target.getContext();
  // The verifier's message becomes part of a longer one.
  ScopedDiagnosticHandler handler(context, [&](Diagnostic &diagnostic) {
    problem = diagnostic.str();
    return success();
  });
  auto schedule = Attr::ofNumbers([&] { return emitError(UnknownLoc::get(context)); }, context, numbers);
  if (schedule)
    problem = whyRefused(schedule, shape, target);
  return problem.empty() ? tile::Schedule(schedule) : tile::Schedule();
}

tile::Schedule inlay::measuredSchedule(tile::Family family, const TuningEntry &entry, const LinearShape &shape,
                                       tile::TargetAttr target, std::string &problem) {
  if (family == tile::Family::Gemm)
    return measured<tile::GemmAttr>(entry, shape, target, problem);
  if (family == tile::Family::SwapAb)
    return measured<tile::SwapAbAttr>(entry, shape, target, problem);
  return measured<tile::MatvecAttr>(entry, shape, target, problem);
}
