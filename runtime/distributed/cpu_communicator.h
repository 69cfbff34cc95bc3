// Collective operations of ranks in host memory: of threads of one process, or of processes that share memory.
#ifndef INLAY_RUNTIME_DISTRIBUTED_CPU_COMMUNICATOR_H_
#define INLAY_RUNTIME_DISTRIBUTED_CPU_COMMUNICATOR_H_

#include "runtime/distributed/communicator.h"
#include "runtime/distributed/rank_group.h"

#include <cstddef>
#include <memory>
#include <vector>

namespace inlay {

// Returns a communicator for each of `members`, ranks of the group, in their order: rank i of the communicators is rank
// members[i] of the group. So ranks can be in several sets of communicators, and a failure of any rank ends all calls.
std::vector<std::unique_ptr<Communicator>> MakeCpuCommunicators(const std::shared_ptr<RankGroup> &group,
                                                                std::vector<uint32_t> members);
// Of all ranks of the group.
std::vector<std::unique_ptr<Communicator>> MakeCpuCommunicators(const std::shared_ptr<RankGroup> &group);

// Bytes of the memory that `members` ranks in processes of their own share, a multiple of a page.
uint64_t CpuExchangeBytes(uint32_t members);
// Returns the communicator of members[index], a rank of the group, which is in this process. All processes have mapped
// `memory`, of CpuExchangeBytes(members.size()) bytes, which were zero before the first one called this. Ranks copy
// what they exchange to it, in parts.
std::unique_ptr<Communicator> MakeSharedCommunicator(const std::shared_ptr<RankGroup> &group,
                                                     std::vector<uint32_t> members, uint32_t index,
                                                     std::shared_ptr<std::byte> memory);

} // namespace inlay

#endif // INLAY_RUNTIME_DISTRIBUTED_CPU_COMMUNICATOR_H_
