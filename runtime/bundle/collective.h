// Sizes of the collective operations of a plan.
#ifndef INLAY_RUNTIME_BUNDLE_COLLECTIVE_H_
#define INLAY_RUNTIME_BUNDLE_COLLECTIVE_H_

#include "runtime/bundle/plan_generated.h"

#include <cstdint>

namespace inlay {

// Ranks whose kernels can exchange rows: the entries of PeerTable::exchange (codegen/device/peers.h).
inline constexpr uint32_t kMaxExchangeRanks = 8;

// The code of a kernel: the kernel itself, or that of a collective operation. Null if no code is compiled for it.
inline const plan::Code *CodeOf(const plan::Kernel &kernel) {
  const plan::Collective *collective = kernel.body_as_Collective();
  return collective ? collective->code() : kernel.body_as_Code();
}

// Columns of a row of the result.
inline uint64_t ResultColumns(const plan::Collective &collective, uint32_t ranks) {
  if (collective.op() != plan::CollectiveOp_AllGather)
    return collective.columns();
  return collective.result_columns() != 0 ? collective.result_columns() : uint64_t{collective.columns()} * ranks;
}

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_COLLECTIVE_H_
