//===- OutlineGroup.h - makes an llm.group of ops --------------------------===//
//
// How the decisions of llm-form-groups are written: as an llm.group for each kernel, with a remark that says what is in
// it.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_LLM_OUTLINEGROUP_H
#define INLAY_PASSES_LLM_OUTLINEGROUP_H

#include "passes/llm/FusionCost.h"

#include <string>

namespace inlay::llm {

/// Ops that become one kernel, in the order of the step.
struct Group {
  std::string name, family;
  OpSet ops;
  int64_t savedBytes = 0; // a row
};

/// Moves the ops of `group`, in steps of up to `maxRows` rows, into an llm.group where the last of them stands.
void outlineGroup(const Group &group, int64_t maxRows);

} // namespace inlay::llm

#endif // INLAY_PASSES_LLM_OUTLINEGROUP_H
