// Which stage of the pipeline a rank runs, and which layers are its own.
#ifndef INLAY_RUNTIME_BUNDLE_STAGES_H_
#define INLAY_RUNTIME_BUNDLE_STAGES_H_

#include "runtime/bundle/plan_generated.h"
#include "runtime/bundle/source_rows.h"

#include <cstdint>

namespace inlay {

inline constexpr uint32_t kMaxRanks = 64; // of all stages together

inline uint32_t StageCount(const plan::Model &model) {
  return model.stage_layers() && model.stage_layers()->size() > 0 ? model.stage_layers()->size() : 1;
}

// Ranks that run a stage together.
inline uint32_t RanksOfStage(const plan::Plan &plan) { return plan.ranks() / StageCount(*plan.model()); }

// A rank of a plan: its stage, and which of the ranks of that stage it is.
struct RankPlace {
  uint32_t stage = 0;
  Rank of_stage;
};

inline RankPlace PlaceOfRank(const plan::Plan &plan, uint32_t rank) {
  uint32_t count = RanksOfStage(plan);
  return {rank / count, {rank % count, count}};
}

// Layers [begin, end).
struct LayerRange {
  uint32_t begin = 0, end = 0;
  bool Contains(uint32_t layer) const { return layer >= begin && layer < end; }
};

inline LayerRange LayersOfStage(const plan::Model &model, uint32_t stage) {
  if (StageCount(model) == 1)
    return {0, model.layers()};
  LayerRange range;
  for (uint32_t i = 0; i <= stage; ++i)
    range = {range.end, range.end + model.stage_layers()->Get(i)};
  return range;
}

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_STAGES_H_
