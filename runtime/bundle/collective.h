// Sizes of the collective operations of a plan.
#ifndef INLAY_RUNTIME_BUNDLE_COLLECTIVE_H_
#define INLAY_RUNTIME_BUNDLE_COLLECTIVE_H_

#include "runtime/bundle/plan_generated.h"

#include <cstdint>

namespace inlay {

// Columns of a row of the result.
inline uint64_t ResultColumns(const plan::Collective &collective, uint32_t ranks) {
  if (collective.op() != plan::CollectiveOp_AllGather)
    return collective.columns();
  return collective.result_columns() != 0 ? collective.result_columns() : uint64_t{collective.columns()} * ranks;
}

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_COLLECTIVE_H_
