// How much memory of a device a bundle takes: the sizes of its buffers, and how many KV pages are left.
#ifndef INLAY_RUNTIME_API_PLAN_MEMORY_H_
#define INLAY_RUNTIME_API_PLAN_MEMORY_H_

#include "absl/status/statusor.h"
#include "runtime/api/inlay.h"
#include "runtime/bundle/plan_generated.h"
#include "runtime/device/device.h"
#include "runtime/kv/cache_shape.h"

namespace inlay {

// The most steps that are in flight at a time: one for each stage of a pipeline, and two where the next step is planned
// while one runs. Each has buffers of its own.
size_t StepsInFlight(const plan::Model &model);
uint64_t LogitsBytes(const plan::Model &model);
uint64_t TokensBytes(const plan::Model &model);
CacheShape CacheShapeOf(const plan::Model &model);

// The memory that LoadedModel::Load() will allocate for each rank of a stage. `draft` is null or the plan of a draft
// model on the same device: see LoadedModel::PlanMemory(). `exchange_bytes` of the buffers are for what ranks exchange.
// `sharing`: the ranks on the device, which divide its free memory.
absl::StatusOr<MemoryPlan> PlanMemory(const plan::Plan &plan, const plan::Target &target, uint32_t stage,
                                      const Device &device, const EngineOptions &options, const MemoryPlan *draft,
                                      uint64_t exchange_bytes = 0, uint32_t sharing = 1);

} // namespace inlay

#endif // INLAY_RUNTIME_API_PLAN_MEMORY_H_
