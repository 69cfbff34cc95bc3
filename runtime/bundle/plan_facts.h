// Facts of the plan that the manifest repeats for human readers. The writer adds them, and the loader checks that they
// match the plan.
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
