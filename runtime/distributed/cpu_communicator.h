// Collective operations of ranks that are threads of one process, in host memory.
#ifndef INLAY_RUNTIME_DISTRIBUTED_CPU_COMMUNICATOR_H_
#define INLAY_RUNTIME_DISTRIBUTED_CPU_COMMUNICATOR_H_

#include "runtime/distributed/communicator.h"
#include "runtime/distributed/rank_group.h"

#include <memory>
#include <vector>

namespace inlay {

// Returns a communicator for each of `members`, ranks of the group, in their order: rank i of the communicators is rank
// members[i] of the group. So ranks can be in several sets of communicators, and a failure of any rank ends all calls.
std::vector<std::unique_ptr<Communicator>> MakeCpuCommunicators(const std::shared_ptr<RankGroup> &group,
                                                                std::vector<uint32_t> members);
// Of all ranks of the group.
std::vector<std::unique_ptr<Communicator>> MakeCpuCommunicators(const std::shared_ptr<RankGroup> &group);

} // namespace inlay

#endif // INLAY_RUNTIME_DISTRIBUTED_CPU_COMMUNICATOR_H_
