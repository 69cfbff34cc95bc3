// Collective operations of ranks that are threads of one process, in host memory.
#ifndef INLAY_RUNTIME_DISTRIBUTED_CPU_COMMUNICATOR_H_
#define INLAY_RUNTIME_DISTRIBUTED_CPU_COMMUNICATOR_H_

#include "runtime/distributed/communicator.h"
#include "runtime/distributed/rank_group.h"

#include <memory>
#include <vector>

namespace inlay {

// Returns the communicator of each rank of the group.
std::vector<std::unique_ptr<Communicator>> MakeCpuCommunicators(const std::shared_ptr<RankGroup> &group);

} // namespace inlay

#endif // INLAY_RUNTIME_DISTRIBUTED_CPU_COMMUNICATOR_H_
