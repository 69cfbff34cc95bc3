//===- LinearTuning.cpp - measured configs and what a family can run -------===//

#include "passes/tile/LinearTuning.h"

#include "fmt/format.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>

using namespace mlir;
using namespace inlay;

LinearShape inlay::shapeOf(MainLoop &loop) {
  return {loop.weight.getView().getType().getShape()[0], loop.k, loop.tokens, !loop.vectors.empty()};
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
  bool isBf16 = loop.weight.getView().getType().getElementType().isBF16();
  return {program->getAttrOfType<StringAttr>("family").getValue().str(),
          shape.rows,
          shape.columns,
          shape.k,
          isBf16 ? "bf16" : "f16",
          shape.isScaled ? "norm" : "none",
          epilogueOf(program, loop)};
}

DictionaryAttr inlay::toAttribute(const TuningEntry &entry, MLIRContext *context) {
  Builder builder(context);
  NamedAttrList list;
  for (const auto &[name, value] : entry.config)
    list.set(name, builder.getI64IntegerAttr(value));
  return list.getDictionary(context);
}

/// The first difference between the names of two configs of one family.
static std::string nameProblem(DictionaryAttr config, DictionaryAttr expected) {
  for (NamedAttribute field : config)
    if (!expected.contains(field.getName()))
      return fmt::format("has '{}', which the family does not know", field.getName().str());
  for (NamedAttribute field : expected)
    if (!config.contains(field.getName()))
      return fmt::format("lacks '{}'", field.getName().str());
  return "";
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

static std::string whyRefused(const MatvecConfig &config, const LinearShape &shape, tile::TargetAttr target) {
  int64_t groups = llvm::divideCeil(shape.columns, kGroupRows);
  MatvecConfig model = chooseMatvec(shape, target);
  std::string range =
      firstOf({rangeProblem("blocks", config.blocks, 1, groups), rangeProblem("warps", config.warps, 1, 32),
               rangeProblem("chunk_atoms", config.chunkAtoms, 1, 16), rangeProblem("stages", config.stages, 1, 16),
               rangeProblem("groups", config.groups, 1, static_cast<int64_t>(llvm::divideCeil(groups, config.blocks))),
               rangeProblem("rows", config.rows, model.rows, model.rows), rangeProblem("chains", config.chains, 1, 2),
               rangeProblem("depth", config.depth, 1, 4)});
  if (!range.empty())
    return range;
  // As the lowering lays them out: rings, the staged row or the vectors that scale several, sums.
  int64_t chunks = llvm::divideCeil(llvm::divideCeil(shape.k, kAtomColumns), config.chunkAtoms);
  int64_t most = llvm::divideCeil(chunks, config.warps) * config.chunkAtoms * kAtomColumns * 2;
  int64_t rings = config.warps * config.stages * config.chunkAtoms * kAtomBytes;
  int64_t batch = config.groups * config.warps * config.rows * kGroupRows * 4;
  int64_t groupsOfBlock = llvm::divideCeil(groups, config.blocks);
  bool isOneBatch = groupsOfBlock <= config.groups;
  if (!isOneBatch && config.partialBytes < batch)
    return fmt::format("has partial_bytes of {}, expected at least {}", config.partialBytes, batch);
  int64_t staged = config.rows == 1 ? config.warps * most : shape.isScaled ? chunks * config.chunkAtoms * 128 : 0;
  int64_t needed =
      (isOneBatch ? std::max(rings, batch) : rings + config.partialBytes) + staged + config.warps * config.stages * 8;
  return firstOf(
      {sharedProblem(config.sharedBytes, target.getBlockSharedBytes()), sharedProblem(needed, config.sharedBytes)});
}

static std::string whyRefused(const GemmConfig &config, const LinearShape &shape, tile::TargetAttr target) {
  std::string range = firstOf({rangeProblem("blocks", config.blocks, 1, 64 * target.getMultiprocessors()),
                               rangeProblem("consumers", config.consumers, 1, 3),
                               rangeProblem("tile_rows", config.tileRows, 64 * config.consumers, 64 * config.consumers),
                               rangeProblem("tile_k", config.tileK, kAtomColumns, kAtomColumns),
                               rangeProblem("stages", config.stages, 2, 16)});
  if (!range.empty())
    return range;
  if (config.tileColumns != 128 && config.tileColumns != 256)
    return fmt::format("has tile_columns of {}, expected 128 or 256", config.tileColumns);
  // setmaxnreg takes multiples of 8; the warpgroups share 65536 registers.
  for (int64_t registers : {config.producerRegisters, config.consumerRegisters})
    if (registers % 8 != 0 || registers < 24 || registers > 256)
      return fmt::format("gives {} registers to a thread, expected a multiple of 8 from 24 to 256", registers);
  int64_t registers = 128 * (config.producerRegisters + config.consumers * config.consumerRegisters);
  if (registers > 65536)
    return fmt::format("needs {} registers, expected at most 65536", registers);
  return sharedProblem(config.stages * config.stageBytes() + config.stagedBytes() + kBarrierBytes,
                       target.getBlockSharedBytes());
}

static std::string whyRefused(const SwapAbConfig &config, const LinearShape &shape, tile::TargetAttr target) {
  int64_t rows = swapAbTileRows(shape.rows);
  std::string range = firstOf(
      {rangeProblem("consumers", config.consumers, 1, 2), rangeProblem("tile_rows", config.tileRows, rows, rows),
       rangeProblem("tile_columns", config.tileColumns, 64 * config.consumers, 64 * config.consumers),
       rangeProblem("tile_k", config.tileK, kAtomColumns, kAtomColumns), rangeProblem("split", config.split, 1, 8),
       rangeProblem("slots", config.slots, 1, 2), rangeProblem("stages", config.stages, 2, 16)});
  if (!range.empty())
    return range;
  if (!config.givesEachBlockSteps(shape.k))
    return fmt::format("splits {} steps of k over {} blocks, expected each to have one",
                       llvm::divideCeil(shape.k, config.tileK), config.split);
  return firstOf({sharedProblem(config.sharedBytes, target.slotSharedBytes(config.slots)),
                  sharedProblem(std::max(config.stages * config.stageBytes(), config.sumsBytes()) + kBarrierBytes,
                                config.sharedBytes)});
}

std::string inlay::whyRefused(StringRef family, DictionaryAttr attribute, const LinearShape &shape,
                              tile::TargetAttr target) {
  MLIRContext *context = attribute.getContext();
  auto check = [&](auto config) {
    std::string problem = nameProblem(attribute, config.toAttribute(context));
    return problem.empty() ? ::whyRefused(decltype(config)::from(attribute), shape, target) : problem;
  };
  if (family == "gemm")
    return check(GemmConfig());
  if (family == "swap_ab")
    return check(SwapAbConfig());
  if (family == "matvec")
    return check(MatvecConfig());
  return fmt::format("is for the family '{}', expected matvec, swap_ab or gemm", family.str());
}
