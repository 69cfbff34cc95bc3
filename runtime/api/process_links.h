// How the ranks of a bundle reach each other through memory that their processes share.
#ifndef INLAY_RUNTIME_API_PROCESS_LINKS_H_
#define INLAY_RUNTIME_API_PROCESS_LINKS_H_

#include "runtime/api/loaded_model.h"
#include "runtime/distributed/rank_processes.h"

namespace inlay {

// Waits for the processes of all ranks of the bundle.
absl::StatusOr<std::unique_ptr<RankProcesses>> ConnectProcesses(const Bundle &bundle, const ProcessOptions &options,
                                                                RankGroup::Clock::duration timeout);
std::shared_ptr<RankGroup> GroupOfProcesses(const RankProcesses &processes, RankGroup::Clock::duration timeout);
// Of the rank of this process.
RankLinks LinksOfProcess(const plan::Plan &plan, const RankProcesses &processes,
                         const std::shared_ptr<RankGroup> &group);

// An option or a property of a rank that all processes must have in common.
struct SharedValue {
  std::string name, value;
};
// Returns the same status on all ranks: an error that names the first value that differs from that of rank 0.
absl::Status CheckEqual(RankProcesses &processes, const std::vector<SharedValue> &own);

// Gives all ranks the number of pages of the one with the fewest, and checks that their options fit. Returns the most
// bytes of a page on any rank.
absl::StatusOr<uint64_t> ShareMemoryPlan(RankProcesses &processes, const EngineOptions &options, MemoryPlan &plan);

} // namespace inlay

#endif // INLAY_RUNTIME_API_PROCESS_LINKS_H_
