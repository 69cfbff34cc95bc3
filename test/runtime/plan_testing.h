// Parts of plans that several tests build.
#ifndef INLAY_TEST_RUNTIME_PLAN_TESTING_H_
#define INLAY_TEST_RUNTIME_PLAN_TESTING_H_

#include "runtime/bundle/plan_generated.h"

#include <cstdint>
#include <string>
#include <vector>

namespace inlay {

// A step of a source's recipe; what each number means stands in plan.fbs.
struct TestStep {
  plan::RecipeOp op;
  uint64_t block = 0, offset = 0, count = 0, parts = 0;
};

// A source: a whole tensor without steps.
struct TestSource {
  TestSource(const char *tensor) : tensor(tensor) {}
  TestSource(std::string tensor, std::vector<TestStep> steps = {})
      : tensor(std::move(tensor)), steps(std::move(steps)) {}

  std::string tensor;
  std::vector<TestStep> steps;
};

inline flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<plan::Source>>>
CreateSources(flatbuffers::FlatBufferBuilder &b, const std::vector<TestSource> &sources) {
  std::vector<flatbuffers::Offset<plan::Source>> tables;
  for (const TestSource &source : sources) {
    std::vector<flatbuffers::Offset<plan::RecipeStep>> steps;
    for (const TestStep &step : source.steps)
      steps.push_back(plan::CreateRecipeStep(b, step.op, step.block, step.offset, step.count, step.parts));
    tables.push_back(plan::CreateSourceDirect(b, source.tensor.c_str(), steps.empty() ? nullptr : &steps));
  }
  return b.CreateVector(tables);
}

} // namespace inlay

#endif // INLAY_TEST_RUNTIME_PLAN_TESTING_H_
