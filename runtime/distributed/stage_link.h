// How a rank of a stage of the pipeline takes rows of a step from the stage before it and passes rows to the next one.
#ifndef INLAY_RUNTIME_DISTRIBUTED_STAGE_LINK_H_
#define INLAY_RUNTIME_DISTRIBUTED_STAGE_LINK_H_

#include "absl/status/status.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace inlay {

class Communicator;

// Rows of a step in the memory of the rank's device: one value of an Entry's `receives` or `sends` in plan.fbs.
struct StageRows {
  std::byte *at = nullptr;
  uint64_t bytes = 0;
};

// Each rank calls its link from its own thread: once for each step, which RankGroup::SetStep() has numbered. The ranks
// at one place in two stages compare the numbers and the bytes. A difference fails the group.
class StageLink {
public:
  virtual ~StageLink() = default;

  // On the cpu, returns when the rows have arrived. On a GPU, lets later launches wait for them, and waits only until
  // the thread of the other rank has launched what makes them.
  virtual absl::Status Receive(std::span<const StageRows> rows) = 0;
  // On the cpu, returns when the rows have arrived. On a GPU, returns at once. Later launches may change them.
  virtual absl::Status Send(std::span<const StageRows> rows) = 0;
};

// Of ranks on the cpu. `pipeline` has a rank of each stage, in their order.
std::unique_ptr<StageLink> MakeCpuStageLink(std::unique_ptr<Communicator> pipeline);

} // namespace inlay

#endif // INLAY_RUNTIME_DISTRIBUTED_STAGE_LINK_H_
