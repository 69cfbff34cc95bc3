//===- LinearConfig.cpp - how a linear layer's program is run on a chip ----===//

#include "passes/tile/LinearConfig.h"

#include "mlir/IR/Builders.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace inlay;

namespace {
template <typename Config> struct Field {
  const char *name;
  int64_t Config::*member;
};
} // namespace

static constexpr Field<MatvecConfig> kMatvecFields[] = {
    {"blocks", &MatvecConfig::blocks},
    {"warps", &MatvecConfig::warps},
    {"chunk_atoms", &MatvecConfig::chunkAtoms},
    {"stages", &MatvecConfig::stages},
    {"groups", &MatvecConfig::groups},
    {"rows", &MatvecConfig::rows},
    {"partial_bytes", &MatvecConfig::partialBytes},
    {"staged_bytes", &MatvecConfig::stagedBytes},
    {"shared_bytes", &MatvecConfig::sharedBytes},
};
static constexpr Field<GemmConfig> kGemmFields[] = {
    {"blocks", &GemmConfig::blocks},
    {"tile_rows", &GemmConfig::tileRows},
    {"tile_columns", &GemmConfig::tileColumns},
    {"tile_k", &GemmConfig::tileK},
    {"stages", &GemmConfig::stages},
    {"consumers", &GemmConfig::consumers},
    {"producer_registers", &GemmConfig::producerRegisters},
    {"consumer_registers", &GemmConfig::consumerRegisters},
};

template <typename Config, size_t n>
static DictionaryAttr write(const Config &config, const Field<Config> (&fields)[n], MLIRContext *context) {
  Builder builder(context);
  NamedAttrList list;
  for (const Field<Config> &field : fields)
    list.set(field.name, builder.getI64IntegerAttr(config.*field.member));
  return list.getDictionary(context);
}

template <typename Config, size_t n> static Config read(DictionaryAttr attribute, const Field<Config> (&fields)[n]) {
  Config config;
  for (const Field<Config> &field : fields)
    if (auto value = attribute.getAs<IntegerAttr>(field.name))
      config.*field.member = value.getInt();
  return config;
}

DictionaryAttr MatvecConfig::toAttribute(MLIRContext *context) const { return write(*this, kMatvecFields, context); }
MatvecConfig MatvecConfig::from(DictionaryAttr attribute) { return read(attribute, kMatvecFields); }
DictionaryAttr GemmConfig::toAttribute(MLIRContext *context) const { return write(*this, kGemmFields, context); }
GemmConfig GemmConfig::from(DictionaryAttr attribute) { return read(attribute, kGemmFields); }

/// Two blocks of under half a multiprocessor each: while one waits for its predecessor, the other's ring keeps memory
/// busy (peers/decode_chain.cu: one slot .89 of read, two .93, three .89).
constexpr int64_t kSlots = 2;
constexpr int64_t kAtomBytes = 1024, kAtomColumns = 64, kGroupRows = 8;

MatvecConfig inlay::chooseMatvec(const LinearShape &shape, const Chip &chip) {
  MatvecConfig config;
  int64_t groups = llvm::divideCeil(shape.columns, kGroupRows), atoms = llvm::divideCeil(shape.k, kAtomColumns);
  config.blocks = std::min(kSlots * chip.multiprocessors, groups);
  int64_t groupsOfBlock = llvm::divideCeil(groups, config.blocks);
  config.groups = std::min<int64_t>(4, groupsOfBlock);

  // A chunk as near to 2 atoms (2 KB) as leaves no warp with more than a tenth above its share of K.
  auto most = [&](int64_t chunk) -> int64_t {
    return llvm::divideCeil(llvm::divideCeil(atoms, chunk), config.warps) * chunk;
  };
  int64_t share = llvm::divideCeil(atoms, config.warps);
  config.chunkAtoms = 1;
  for (int64_t chunk : {2, 3, 4, 1})
    if (10 * most(chunk) <= 11 * share) {
      config.chunkAtoms = chunk;
      break;
    }
  config.stages = 8 / config.chunkAtoms; // 8 KB a warp

  // What the rings leave is for partial sums (8 warps' f32 for 8 weight rows and each row of activations), then for
  // activations. The budget is a slot's; a floor keeps a third block off the multiprocessor.
  int64_t budget = chip.sharedBytes / kSlots - chip.reservedSharedBytes;
  int64_t ring = config.warps * config.stages * config.chunkAtoms * kAtomBytes;
  int64_t barriers = config.warps * 24 * 8 + config.warps * config.rows * 4 + 512; // and sums of rows, and alignment
  int64_t vectors = shape.vectorsAlongK * atoms * kAtomColumns * 2;
  int64_t groupBytes = config.warps * kGroupRows * 4; // for one row of activations
  config.partialBytes =
      std::max(config.groups * config.rows * groupBytes,
               std::min<int64_t>(16 * 1024, llvm::alignTo(groupsOfBlock, config.groups) * groupBytes));
  config.stagedBytes = llvm::alignDown((budget - ring - barriers - vectors - config.partialBytes) / config.warps, 128);
  config.sharedBytes = budget;
  return config;
}

GemmConfig inlay::chooseGemm(const LinearShape &shape, const Chip &chip) {
  GemmConfig config;
  config.blocks = chip.multiprocessors;
  int64_t stageBytes = (config.tileRows + config.tileColumns) * config.tileK * 2;
  config.stages = std::min<int64_t>(config.stages, (chip.blockSharedBytes - 2048) / stageBytes);
  return config;
}
