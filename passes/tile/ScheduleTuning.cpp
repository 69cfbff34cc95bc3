//===- ScheduleTuning.cpp - measured schedules and what a program takes ----===//

#include "passes/tile/ScheduleTuning.h"

#include "passes/tile/AttentionTuning.h"

#include "fmt/format.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>

using namespace mlir;
using namespace inlay;

LinearShape inlay::shapeOf(MainLoop &loop) {
  LinearShape shape{loop.weight.getView().getType().getShape()[0], loop.k, loop.tokens,
                    static_cast<int64_t>(loop.vectors.size())};
  shape.hasStatistics = !loop.statistics.empty();
  shape.weightBits = loop.weight.getView().getType().getElementType().getIntOrFloatBitWidth();
  shape.rowBits = cast<tile::ViewType>(loop.rowsView().getType()).getElementType().getIntOrFloatBitWidth();
  if (tile::DequantizeOp op = loop.dequantize; op && op.getGroup() > 0) {
    shape.group = op.getGroup();
    shape.groupBytes =
        llvm::divideCeil(tile::kUnitColumns, op.getGroup()) * 4 * ((op.getScales() ? 1 : 0) + (op.getZeros() ? 1 : 0));
  }
  if (loop.columnScales.load) {
    shape.group = loop.columnScales.group;
    shape.groupBytes = sizeof(float);
  }
  if (loop.rowScales.load)
    shape.rowScaleBytes = 16; // the least that a fetch brings of a row
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

/// The family of the programs that `schedule` is for, as tuning files name it.
static StringRef familyNameOf(tile::Schedule schedule) {
  return isa<tile::StreamAttr>(schedule) ? tile::stringifyFamily(tile::Family::Matvec) : schedule.getFamilyName();
}

/// The weights of a product, as tuning files name them: "bf16"; "u4 of 128" for codes that are unpacked, with scales of
/// so many columns, and "with zeros"; "f8e4m3 x f8e4m3" for codes that are multiplied by codes, "f8e4m3 of 128 x
/// f8e4m3 of 128" where weights and rows have scales of so many columns.
static std::string weightsOf(MainLoop &loop, const LinearShape &shape) {
  Type element = loop.weight.getView().getType().getElementType();
  if (tile::DequantizeOp op = loop.dequantize)
    return tile::stringifyCodes(op.getCodes()).str() + (shape.group ? fmt::format(" of {}", shape.group) : "") +
           (op.getZeros() ? " with zeros" : "");
  if (element.isBF16() || element.isF16())
    return element.isBF16() ? "bf16" : "f16";
  auto codes = [&](const StepScales &scales) {
    return (element.isInteger() ? "i8" : "f8e4m3") + (scales.load ? fmt::format(" of {}", scales.group) : "");
  };
  return codes(loop.columnScales) + " x " + codes(loop.rowScales);
}

TuningKey inlay::tuningKeyOf(tile::ProgramOp program, MainLoop &loop) {
  LinearShape shape = shapeOf(loop);
  return {familyNameOf(program.getScheduleAttr()).str(),
          shape.rows,
          shape.columns,
          shape.k,
          weightsOf(loop, shape),
          shape.hasStatistics ? "centered norm"
          : shape.isScaled()  ? "norm"
                              : "none",
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

std::string inlay::whyRefused(tile::StreamAttr schedule, const LinearShape &shape, tile::TargetAttr target) {
  int64_t tiles = llvm::divideCeil(shape.columns, schedule.getTileColumns()), step = schedule.getTileK();
  int64_t rows = shape.rows == 1 ? 1 : shape.rows <= 8 ? 8 : 16;
  bool areCodes = shape.weightBits < 16;
  if (!llvm::isPowerOf2_64(step) || streamedColumns(shape) % step != 0 || (areCodes && step % tile::kUnitColumns != 0))
    return fmt::format("has tile_k of {}, expected a power of two that divides {}", step, streamedColumns(shape));
  if (areCodes && schedule.getTileColumns() != tile::kUnitRows)
    return fmt::format("has tile_columns of {}, expected {} of codes", schedule.getTileColumns(), tile::kUnitRows);
  return firstOf({areCodes ? whyNotStreamed(shape.weightBits, shape.group, shape.k) : "",
                  rangeProblem("blocks", schedule.getBlocks(), 1, tiles),
                  rangeProblem("rows", schedule.getRows(), rows, rows),
                  sharedProblem(schedule.getSharedBytes(), target.slotSharedBytes(schedule.getSlots())),
                  sharedProblem(streamBytes(schedule, shape), schedule.getSharedBytes())});
}

std::string inlay::whyRefused(tile::GemmAttr schedule, const LinearShape &shape, tile::TargetAttr target) {
  int64_t step = 8 * tile::kSlabBytes / shape.weightBits;
  return firstOf(
      {rangeProblem("blocks", schedule.getBlocks(), 1, 64 * target.getMultiprocessors()),
       rangeProblem("tile_k", schedule.getTileK(), step, step),
       sharedProblem(schedule.getStages() * gemmStageBytes(schedule, shape) + schedule.stagedBytes() + kBarrierBytes,
                     target.getBlockSharedBytes())});
}

std::string inlay::whyRefused(tile::SwapAbAttr schedule, const LinearShape &shape, tile::TargetAttr target) {
  int64_t rows = tile::swapAbTileRows(shape.rows);
  if (std::string range = rangeProblem("tile_rows", schedule.getTileRows(), rows, rows); !range.empty())
    return range;
  if (!schedule.givesEachBlockSteps(shape.k))
    return fmt::format("splits {} steps of k over {} blocks, expected each to have one",
                       llvm::divideCeil(shape.k, schedule.getTileK()), schedule.getSplit());
  int64_t needed =
      std::max(schedule.getStages() * swapAbStageBytes(schedule, shape), schedule.sumsBytes()) + kBarrierBytes;
  return firstOf({sharedProblem(schedule.getSharedBytes(), target.slotSharedBytes(schedule.getSlots())),
                  sharedProblem(needed, schedule.getSharedBytes())});
}

SmallVector<int64_t> inlay::numbersOf(tile::StreamAttr schedule) {
  return {schedule.getBlocks(), schedule.getWarps(),      schedule.getTileColumns(), schedule.getTileK(),
          schedule.getStages(), schedule.getTiles(),      schedule.getRows(),        schedule.getDepth(),
          schedule.getSlots(),  schedule.getSharedBytes()};
}

SmallVector<int64_t> inlay::numbersOf(tile::GemmAttr schedule) {
  return {
      schedule.getBlocks(), schedule.getTileRows(),  schedule.getTileColumns(),       schedule.getTileK(),
      schedule.getStages(), schedule.getConsumers(), schedule.getProducerRegisters(), schedule.getConsumerRegisters()};
}

SmallVector<int64_t> inlay::numbersOf(tile::SwapAbAttr schedule) {
  return {schedule.getTileRows(), schedule.getTileColumns(), schedule.getTileK(),  schedule.getConsumers(),
          schedule.getSplit(),    schedule.getSlots(),       schedule.getStages(), schedule.getSharedBytes()};
}

std::map<std::string, int64_t> inlay::configOf(tile::Schedule schedule) {
  std::map<std::string, int64_t> config;
  auto add = [&](auto attr) {
    for (auto [name, number] : llvm::zip_equal(attr.kNames, numbersOf(attr)))
      config[name.str()] = number;
  };
  llvm::TypeSwitch<Attribute>(schedule)
      .Case<tile::StreamAttr, tile::GemmAttr, tile::SwapAbAttr, tile::DecodeAttentionAttr, tile::PrefillAttentionAttr>(
          add);
  return config;
}

SmallVector<int64_t> inlay::numbersOf(const TuningEntry &entry, ArrayRef<llvm::StringLiteral> names,
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
  Attr schedule = scheduleOf<Attr>(entry, target.getContext(), problem);
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
  return measured<tile::StreamAttr>(entry, shape, target, problem);
}
