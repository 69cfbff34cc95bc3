//===- LinearConfig.cpp - how a linear layer's program is run on a chip ----===//

#include "passes/tile/LinearConfig.h"

#include "passes/tile/ConfigFields.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>
#include <array>
#include <optional>

using namespace mlir;
using namespace inlay;

static constexpr ConfigField<MatvecConfig> kMatvecFields[] = {
    {"blocks", &MatvecConfig::blocks},
    {"warps", &MatvecConfig::warps},
    {"chunk_atoms", &MatvecConfig::chunkAtoms},
    {"stages", &MatvecConfig::stages},
    {"groups", &MatvecConfig::groups},
    {"rows", &MatvecConfig::rows},
    {"chains", &MatvecConfig::chains},
    {"depth", &MatvecConfig::depth},
    {"partial_bytes", &MatvecConfig::partialBytes},
    {"shared_bytes", &MatvecConfig::sharedBytes},
};
static constexpr ConfigField<GemmConfig> kGemmFields[] = {
    {"blocks", &GemmConfig::blocks},
    {"tile_rows", &GemmConfig::tileRows},
    {"tile_columns", &GemmConfig::tileColumns},
    {"tile_k", &GemmConfig::tileK},
    {"stages", &GemmConfig::stages},
    {"consumers", &GemmConfig::consumers},
    {"producer_registers", &GemmConfig::producerRegisters},
    {"consumer_registers", &GemmConfig::consumerRegisters},
};

static constexpr ConfigField<SwapAbConfig> kSwapAbFields[] = {
    {"tile_rows", &SwapAbConfig::tileRows}, {"tile_columns", &SwapAbConfig::tileColumns},
    {"tile_k", &SwapAbConfig::tileK},       {"consumers", &SwapAbConfig::consumers},
    {"split", &SwapAbConfig::split},        {"slots", &SwapAbConfig::slots},
    {"stages", &SwapAbConfig::stages},      {"shared_bytes", &SwapAbConfig::sharedBytes},
};

DictionaryAttr MatvecConfig::toAttribute(MLIRContext *context) const {
  return writeFields(*this, kMatvecFields, context);
}
MatvecConfig MatvecConfig::from(DictionaryAttr attribute) { return readFields(attribute, kMatvecFields); }
DictionaryAttr GemmConfig::toAttribute(MLIRContext *context) const { return writeFields(*this, kGemmFields, context); }
GemmConfig GemmConfig::from(DictionaryAttr attribute) { return readFields(attribute, kGemmFields); }
DictionaryAttr SwapAbConfig::toAttribute(MLIRContext *context) const {
  return writeFields(*this, kSwapAbFields, context);
}
SwapAbConfig SwapAbConfig::from(DictionaryAttr attribute) { return readFields(attribute, kSwapAbFields); }

/// Two blocks of under half a multiprocessor each: while one waits for its predecessor, the other's ring keeps memory
/// busy (peers/decode_chain.cu: one slot .89 of read, two .93, three .89).
constexpr int64_t kSlots = 2;

int64_t MatvecConfig::rowRegisters(const LinearShape &shape) const {
  return llvm::divideCeil(llvm::divideCeil(shape.k, kAtomColumns * chunkAtoms), warps) * 4;
}

MatvecConfig inlay::chooseMatvec(const LinearShape &shape, tile::TargetAttr target) {
  MatvecConfig config;
  int64_t groups = llvm::divideCeil(shape.columns, kGroupRows), atoms = llvm::divideCeil(shape.k, kAtomColumns);
  config.blocks = std::min(kSlots * target.getMultiprocessors(), groups);
  config.rows = shape.rows == 1 ? 1 : shape.rows <= 8 ? 8 : 16;

  // Chunks of 4 KB; of 2 KB where a chunk of several rows stands in registers. A warp has at most a tenth above its
  // share of K.
  auto most = [&](int64_t chunk) -> int64_t {
    return llvm::divideCeil(llvm::divideCeil(atoms, chunk), config.warps) * chunk;
  };
  int64_t share = llvm::divideCeil(atoms, config.warps);
  config.chunkAtoms = 1;
  for (int64_t chunk : config.rows == 1 ? std::array<int64_t, 3>{4, 2, 3} : std::array<int64_t, 3>{2, 1, 1})
    if (10 * most(chunk) <= 11 * share) {
      config.chunkAtoms = chunk;
      break;
    }
  config.stages = 8 / config.chunkAtoms; // 8 KB a warp

  // Groups that one pass over the activations serves. Several rows are read anew from L2 in each pass, so as many as
  // the registers hold: 14 were measured to spill, 8 not.
  int64_t groupsOfBlock = llvm::divideCeil(groups, config.blocks);
  int64_t passes = llvm::divideCeil(groupsOfBlock, config.rows == 1 ? 4 : 8);
  config.groups = llvm::divideCeil(groupsOfBlock, passes);

  // What is left of the registers: a chunk of 8 rows takes 8 for each 64 columns, a group's sum 4.
  int64_t fragments = config.rows / 8 * 8 * config.chunkAtoms;
  config.chains = fragments + 8 * config.groups <= 64 ? 2 : 1;
  // Rows that are scaled first were measured to spill with more than one chunk of them in registers.
  if (config.rows > 1 && !shape.isScaled)
    config.depth = std::clamp<int64_t>((64 - 4 * config.chains * config.groups) / fragments, 1, 4);

  // Sums of the warps, in f32 for 8 weight rows and each row of activations; one pass leaves them in the rings.
  int64_t passBytes = config.groups * config.warps * kGroupRows * config.rows * 4;
  config.partialBytes = passes == 1 ? 0 : std::max(passBytes, std::min<int64_t>(32 * 1024, passes * passBytes));
  // A slot's; a floor keeps a third block off the multiprocessor.
  config.sharedBytes = target.slotSharedBytes(kSlots);
  // A long row takes room from the rings.
  int64_t rowBytes = config.rows == 1 ? config.warps * most(config.chunkAtoms) * kAtomColumns * 2 : 0;
  while (config.stages > 1 &&
         config.warps * config.stages * config.chunkAtoms * kAtomBytes + rowBytes + config.partialBytes + 4096 >
             config.sharedBytes)
    config.stages /= 2;
  return config;
}

GemmConfig inlay::chooseGemm(const LinearShape &shape, tile::TargetAttr target) {
  GemmConfig config;
  config.blocks = target.getMultiprocessors();
  config.stages = std::min<int64_t>(
      config.stages, (target.getBlockSharedBytes() - config.stagedBytes() - kBarrierBytes) / config.stageBytes());
  return config;
}

/// An estimate in ns. A ring is filled anew in each round trip to memory under load; the products and what memory
/// gives bound it; blocks that share K wait for each other. All but memory's rate is fitted, on an H200, to QKV, O and
/// down of Llama 3.1 8B and Llama 3.2 1B at 16 to 256 rows: of seven ways to run each of these 30 it takes the fastest,
/// or one at most 5 % slower.
int64_t SwapAbConfig::time(const LinearShape &shape, tile::TargetAttr target) const {
  constexpr int64_t roundTrip = 2500, wait = 500, bytesOfMemory = 4400, productsOfMultiprocessor = 2500;
  int64_t blocks = llvm::divideCeil(shape.columns, tileColumns) * split;
  int64_t waves = llvm::divideCeil(blocks, target.residentBlocks(split, slots));
  int64_t steps = waves * share(shape.k);
  int64_t neighbours = std::min<int64_t>(slots, llvm::divideCeil(blocks, target.getMultiprocessors()));
  return std::max({shape.columns * shape.k * 2 / bytesOfMemory, steps * roundTrip / stages,
                   steps * neighbours * tileRows * tileColumns * tileK / productsOfMultiprocessor}) +
         wait * split;
}

int64_t inlay::swapAbTileRows(int64_t rows) { return rows <= 16 ? 16 : static_cast<int64_t>(llvm::alignTo(rows, 32)); }

SwapAbConfig inlay::chooseSwapAb(const LinearShape &shape, tile::TargetAttr target) {
  std::optional<SwapAbConfig> best;
  for (int64_t consumers : {2, 1}) {
    // Two warpgroups share the rows that they read. Few rows are little to read, and small tiles end sooner.
    if (shape.rows <= 32 && consumers > 1)
      continue;
    for (int64_t split : {1, 2, 3, 4}) {
      SwapAbConfig config;
      config.consumers = consumers;
      config.tileColumns = 64 * consumers;
      config.split = split;
      config.tileRows = swapAbTileRows(shape.rows);
      // A thread has half as many sums as there are rows; two blocks leave it 112 registers.
      config.slots = config.tileRows <= 128 ? kSlots : 1;
      config.sharedBytes = target.slotSharedBytes(config.slots);
      config.stages = std::min<int64_t>((config.sharedBytes - kBarrierBytes) / config.stageBytes(), 8);
      if (config.givesEachBlockSteps(shape.k) && (!best || config.time(shape, target) < best->time(shape, target)))
        best = config;
    }
  }
  return *best;
}

DictionaryAttr inlay::chooseLinear(StringRef family, const LinearShape &shape, tile::TargetAttr target,
                                   MLIRContext *context) {
  if (family == "gemm")
    return chooseGemm(shape, target).toAttribute(context);
  if (family == "swap_ab")
    return chooseSwapAb(shape, target).toAttribute(context);
  return chooseMatvec(shape, target).toAttribute(context);
}
