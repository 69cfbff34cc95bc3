//===- AttentionConfig.cpp - how attention's program is run on a chip ------===//

#include "passes/tile/AttentionConfig.h"

#include "passes/tile/ConfigFields.h"

#include <algorithm>

using namespace mlir;
using namespace inlay;

static constexpr ConfigField<DecodeAttentionConfig> kDecodeFields[] = {
    {"blocks", &DecodeAttentionConfig::blocks},
    {"stages", &DecodeAttentionConfig::stages},
    {"warps", &DecodeAttentionConfig::warps},
};
static constexpr ConfigField<PrefillAttentionConfig> kPrefillFields[] = {
    {"consumer_registers", &PrefillAttentionConfig::consumerRegisters},
    {"consumers", &PrefillAttentionConfig::consumers},
    {"producer_registers", &PrefillAttentionConfig::producerRegisters},
    {"stages", &PrefillAttentionConfig::stages},
};
DictionaryAttr DecodeAttentionConfig::toAttribute(MLIRContext *context) const {
  return writeFields(*this, kDecodeFields, context);
}
DecodeAttentionConfig DecodeAttentionConfig::from(DictionaryAttr attribute) {
  return readFields(attribute, kDecodeFields);
}
DictionaryAttr PrefillAttentionConfig::toAttribute(MLIRContext *context) const {
  return writeFields(*this, kPrefillFields, context);
}
PrefillAttentionConfig PrefillAttentionConfig::from(DictionaryAttr attribute) {
  return readFields(attribute, kPrefillFields);
}

DecodeAttentionConfig inlay::chooseDecodeAttention(const AttentionShape &shape, tile::TargetAttr target) {
  DecodeAttentionConfig config;
  // A thread's sums: 4 for each 16 columns and 8 rows. Where they are many, fewer warps have more registers.
  int64_t accumulators = (shape.headDim + 15) / 16 * 4 * ((shape.rows + 7) / 8);
  config.warps = accumulators > 32 ? 4 : 8;
  // Two blocks share a multiprocessor; what is left beside the rings is for barriers and the merge.
  constexpr int64_t besideRings = 12 * 1024;
  int64_t bytes = target.slotSharedBytes(config.blocks) - besideRings;
  config.stages = std::clamp<int64_t>(bytes / (config.warps * shape.stepBytes()), 2, 8);
  return config;
}

bool inlay::isDecodeAttention(const AttentionShape &shape, int64_t pageSize) {
  return shape.rows <= 16 && shape.headDim % 8 == 0 && shape.headDim >= 16 && shape.headDim <= 256 &&
         pageSize % shape.keysPerStep == 0;
}

PrefillAttentionConfig inlay::choosePrefillAttention(const AttentionShape &shape, tile::TargetAttr target) {
  PrefillAttentionConfig config;
  constexpr int64_t besideRings = 1024; // barriers
  int64_t queries = shape.slabs() * AttentionShape::slabColumns * 2 * shape.rows;
  config.stages =
      std::clamp<int64_t>((target.getBlockSharedBytes() - queries - besideRings) / (2 * shape.stepBytes()), 1, 2);
  return config;
}

bool inlay::isPrefillAttention(const AttentionShape &shape, int64_t pageSize) {
  return shape.rows % 64 == 0 && shape.keysPerStep == kPrefillKeys && shape.headDim % 8 == 0 && shape.headDim >= 16 &&
         shape.headDim <= 128 && pageSize % AttentionShape::keysPerCopy == 0;
}
