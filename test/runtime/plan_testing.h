// Parts of plans that several tests build.
#ifndef INLAY_TEST_RUNTIME_PLAN_TESTING_H_
#define INLAY_TEST_RUNTIME_PLAN_TESTING_H_

#include "runtime/bundle/bundle.h"
#include "runtime/bundle/plan_generated.h"
#include "runtime/bundle/step_sizes.h"

#include <cstdint>
#include <string>
#include <vector>

namespace inlay {

// A step of a source's recipe; what each number means stands in plan.fbs.
struct TestStep {
  plan::RecipeOp op;
  uint64_t block = 0, offset = 0, count = 0, parts = 0;
  plan::Axis axis = plan::Axis_Rows;
  plan::DataType type = plan::DataType_F32;
  plan::FieldOrder order = plan::FieldOrder_Plain;
  int32_t addend = 0;
  double factor = 0;
  bool allows_zero = false;
  const char *table = nullptr, *scales = nullptr;
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
      steps.push_back(plan::CreateRecipeStepDirect(b, step.op, step.block, step.offset, step.count, step.parts,
                                                   step.axis, step.type, step.order, step.addend, step.factor,
                                                   step.allows_zero, step.table, step.scales));
    tables.push_back(plan::CreateSourceDirect(b, source.tensor.c_str(), steps.empty() ? nullptr : &steps));
  }
  return b.CreateVector(tables);
}

// A kernel of the bundle with these views.
inline flatbuffers::Offset<plan::Kernel> CreateCodeKernel(flatbuffers::FlatBufferBuilder &b, const char *name,
                                                          const std::vector<plan::View> &views,
                                                          uint32_t tensor_maps = 0) {
  auto code = plan::CreateCode(b, 0, 0, /*shared_bytes=*/0, /*dependent_launch=*/false, tensor_maps);
  return plan::CreateKernelDirect(b, name, &views, plan::KernelBody_Code, code.Union());
}

// A cache group, to be spoiled.
struct TestCacheGroup {
  std::vector<uint32_t> layers = {0};
  uint32_t kv_heads = 1, head_dim = 8;
  plan::DataType type = plan::DataType_F32;
  uint32_t page_size = 16, window = 0;
};

// What a plan says beside its targets, to be spoiled: 16 tokens in the vocabulary, sequences of 64 positions, 4 at
// once.
struct TestModel {
  uint32_t layers = 1;
  std::vector<TestCacheGroup> cache_groups = {{}};
  std::vector<std::string> step_sizes = {std::begin(kStepSizeNames), std::end(kStepSizeNames)};
  uint32_t ranks = 1;
  uint32_t short_rope_len = 0;
  std::vector<uint32_t> stage_layers = {}; // one stage
  uint32_t max_num_batched_tokens = 4;
};

// The finished plan of one target.
inline std::string FinishPlan(flatbuffers::FlatBufferBuilder &b, flatbuffers::Offset<plan::Target> target,
                              const TestModel &options = {}) {
  std::vector<flatbuffers::Offset<plan::CacheGroup>> groups;
  for (const TestCacheGroup &group : options.cache_groups)
    groups.push_back(plan::CreateCacheGroupDirect(b, &group.layers, group.kv_heads, group.head_dim, group.type,
                                                  group.page_size, group.window));
  auto model = plan::CreateModelDirect(b, /*vocab_size=*/16, options.layers, &groups, /*max_model_len=*/64,
                                       /*max_num_seqs=*/4, options.max_num_batched_tokens, options.short_rope_len,
                                       options.stage_layers.empty() ? nullptr : &options.stage_layers);
  auto sizes = b.CreateVectorOfStrings(options.step_sizes);
  plan::FinishPlanBuffer(
      b, plan::CreatePlan(b, kBundleFormatVersion, sizes, options.ranks, model, b.CreateVector(std::vector{target})));
  return {reinterpret_cast<const char *>(b.GetBufferPointer()), b.GetSize()};
}

} // namespace inlay

#endif // INLAY_TEST_RUNTIME_PLAN_TESTING_H_
