//===- AttentionConfig.cpp - how attention's program is run on a chip ------===//

#include "passes/tile/AttentionConfig.h"

#include "mlir/IR/Builders.h"

#include <algorithm>

using namespace mlir;
using namespace inlay;

DictionaryAttr DecodeAttentionConfig::toAttribute(MLIRContext *context) const {
  Builder b(context);
  return b.getDictionaryAttr({b.getNamedAttr("blocks", b.getI64IntegerAttr(blocks)),
                              b.getNamedAttr("stages", b.getI64IntegerAttr(stages)),
                              b.getNamedAttr("warps", b.getI64IntegerAttr(warps))});
}

DecodeAttentionConfig DecodeAttentionConfig::from(DictionaryAttr attribute) {
  DecodeAttentionConfig config;
  auto read = [&](StringRef name, int64_t &number) {
    if (auto value = attribute.getAs<IntegerAttr>(name))
      number = value.getInt();
  };
  read("warps", config.warps);
  read("stages", config.stages);
  read("blocks", config.blocks);
  return config;
}

DecodeAttentionConfig inlay::chooseDecodeAttention(const AttentionShape &shape, const Chip &chip) {
  DecodeAttentionConfig config;
  // A thread's sums: 4 for each 16 columns and 8 rows. Where they are many, fewer warps have more registers.
  int64_t accumulators = (shape.headDim + 15) / 16 * 4 * ((shape.rows + 7) / 8);
  config.warps = accumulators > 32 ? 4 : 8;
  // Two blocks share a multiprocessor; what is left beside the rings is for barriers and the merge.
  constexpr int64_t besideRings = 12 * 1024;
  int64_t bytes = chip.sharedBytes / config.blocks - chip.reservedSharedBytes - besideRings;
  config.stages = std::clamp<int64_t>(bytes / (config.warps * shape.stepBytes()), 2, 8);
  return config;
}

bool inlay::isDecodeAttention(const AttentionShape &shape, int64_t pageSize) {
  return shape.rows <= 16 && shape.headDim % 8 == 0 && shape.headDim >= 16 && shape.headDim <= 256 &&
         pageSize % shape.keysPerStep == 0;
}
