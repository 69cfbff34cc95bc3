// Sizes of the collective operations of a plan.
#ifndef INLAY_RUNTIME_BUNDLE_COLLECTIVE_H_
#define INLAY_RUNTIME_BUNDLE_COLLECTIVE_H_

#include "runtime/bundle/elements.h"
#include "runtime/bundle/plan_generated.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace inlay {

// Ranks whose kernels can exchange rows: the entries of PeerTable::exchange (codegen/device/peers.h).
inline constexpr uint32_t kMaxExchangeRanks = 8;

// The kernel that follows an AllReduce with an epilogue, where a communicator sums.
inline std::string EpilogueName(const plan::Kernel &kernel) { return kernel.name()->str() + "_epilogue"; }

// The compiled kernels of a kernel of the plan, by name: the kernel itself, or that of a collective operation and its
// epilogue. Empty if no code is compiled for it.
inline std::vector<std::pair<std::string, const plan::Code *>> CodesOf(const plan::Kernel &kernel) {
  std::vector<std::pair<std::string, const plan::Code *>> codes;
  const plan::Collective *collective = kernel.body_as_Collective();
  if (const plan::Code *code = collective ? collective->code() : kernel.body_as_Code())
    codes.emplace_back(kernel.name()->str(), code);
  if (collective && collective->epilogue())
    codes.emplace_back(EpilogueName(kernel), collective->epilogue());
  return codes;
}

// Columns of a row of the result.
inline uint64_t ResultColumns(const plan::Collective &collective, uint32_t ranks) {
  if (collective.op() != plan::CollectiveOp_AllGather)
    return collective.columns();
  return collective.result_columns() != 0 ? collective.result_columns() : uint64_t{collective.columns()} * ranks;
}

// Bytes that a row of an AllGather takes in a round's buffer of its kernel: that of each rank, in whole words.
inline uint64_t GatheredRowBytes(const plan::Collective &collective, uint32_t ranks) {
  constexpr uint64_t kWordBytes = 16; // that a rank pushes at a time
  return (collective.columns() * ElementSize(collective.type()) + kWordBytes - 1) / kWordBytes * kWordBytes * ranks;
}

// Rounds of the exchange that the kernel of the operation takes for `rows` rows. An AllGather has one for each
// `exchange_bytes` of them, and none without rows. `collective` is that of a valid plan, with code.
inline uint64_t RoundsOf(const plan::Collective &collective, uint32_t ranks, uint64_t rows) {
  if (collective.op() != plan::CollectiveOp_AllGather)
    return 1;
  const uint64_t round_rows = collective.exchange_bytes() / GatheredRowBytes(collective, ranks);
  return (rows + round_rows - 1) / round_rows;
}

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_COLLECTIVE_H_
