// What the manifest repeats of the plan, for people. The writer puts it there, the loader checks that it is still so.
#ifndef INLAY_RUNTIME_BUNDLE_PLAN_FACTS_H_
#define INLAY_RUNTIME_BUNDLE_PLAN_FACTS_H_

#include "runtime/bundle/plan_generated.h"

#include <string>

namespace inlay {

// A JSON object: the targets, what kernels for the cpu need of a processor, the model's sizes, each kernel's name and
// the sizes of what is behind its arguments.
std::string PlanFacts(const plan::Plan &plan);

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_PLAN_FACTS_H_
