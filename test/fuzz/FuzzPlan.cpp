// Arbitrary plans: a plan that passes verification can be read as the engine reads it.
#include "runtime/bundle/bundle.h"
#include "runtime/bundle/recipe.h"
#include "runtime/bundle/weight_loader.h"

#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  using namespace inlay;
  flatbuffers::Verifier verifier(data, size, /*max_depth=*/16, /*max_tables=*/1'000'000);
  if (!plan::VerifyPlanBuffer(verifier))
    return 0;
  const plan::Plan &plan = *plan::GetPlan(data);
  if (!VerifyPlan(plan).ok())
    return 0;
  uint64_t sum = 0;
  for (const plan::Target *target : *plan.targets()) {
    sum += target->name()->size() + WeightsBytes(*target);
    if (target->weights())
      for (const plan::Weight *weight : *target->weights())
        sum += *WeightBytes(*weight) + weight->name()->size();
    for (const plan::Entry *entry : *target->entries())
      for (const auto *launches : {entry->launches(), entry->penalties(), entry->sampling()})
        if (launches)
          for (const plan::Launch *launch : *launches) {
            sum += target->kernels()->Get(launch->kernel())->name()->size();
            for (const plan::Count *count : *launch->grid())
              sum += 7 / count->divisor();
            for (const plan::Argument *argument : *launch->arguments())
              if (argument->kind() == plan::BufferKind_Weight)
                sum += target->weights()->Get(argument->index())->bytes();
          }
  }
  // Prevents the compiler from removing the code above.
  [[maybe_unused]] static volatile uint64_t kept;
  kept = sum;
  return 0;
}
