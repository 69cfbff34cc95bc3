// A small plan that tests spoil.
#ifndef INLAY_TEST_RUNTIME_SMALL_PLAN_H_
#define INLAY_TEST_RUNTIME_SMALL_PLAN_H_

#include "test/runtime/plan_testing.h"

#include <string>
#include <vector>

namespace inlay {

// Options of the small plan. It is not run.
struct SmallPlanOptions {
  uint32_t kernel_of_launch = 0;
  uint64_t weight_bytes = 48;
  plan::View view{plan::Count(plan::Extent_One, 1, 1), 48}; // of the kernel's argument
  plan::BufferKind argument = plan::BufferKind_Weight;
  plan::Metadata metadata = plan::Metadata_TokenIds;
  uint64_t offset = 0; // into the workspace of 256 bytes
  uint32_t arguments = 1;
  uint32_t max_tokens = 4;
  std::vector<uint32_t> graph_buckets = {};
  std::vector<uint64_t> map_dims = {}; // dimensions of a tensor map of F32 with rows of 16 bytes; empty: no map
  uint32_t index = 0;                  // of the argument
  TestModel model = {};
  uint64_t rows = 4; // of the weight
  TestSource source = "a";
  std::vector<float> values = {}; // of the weight, instead of the source; empty: none
  bool has_source_too = false;
};

// A plan of one cpu target with one kernel and, from tensor "a", one weight of 4 x 3 floats.
inline std::string SmallPlan(const SmallPlanOptions &options = {}) {
  flatbuffers::FlatBufferBuilder b;
  flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<plan::Source>>> sources;
  if (options.values.empty() || options.has_source_too)
    sources = CreateSources(b, {options.source});
  auto values = options.values.empty() ? 0 : b.CreateVector(options.values);
  plan::RecipeBuilder builder(b);
  builder.add_sources(sources);
  builder.add_rows(options.rows);
  builder.add_columns(3);
  builder.add_values(values);
  auto recipe = builder.Finish();
  std::vector weights{plan::CreateWeight(b, b.CreateString("w"), plan::DataType_F32, options.weight_bytes, 0, recipe)};
  std::vector kernels{CreateCodeKernel(b, "k", {options.view}, options.map_dims.empty() ? 0 : 1)};
  std::vector<flatbuffers::Offset<plan::Argument>> arguments;
  for (uint32_t i = 0; i < options.arguments; ++i)
    arguments.push_back(plan::CreateArgument(b, options.argument, options.index, options.offset, options.metadata));
  std::vector<flatbuffers::Offset<plan::TensorMap>> maps;
  if (!options.map_dims.empty()) {
    std::vector<uint64_t> strides(options.map_dims.size() - 1, 16);
    std::vector<uint32_t> box(options.map_dims.size(), 1);
    maps.push_back(plan::CreateTensorMapDirect(b, 0, plan::DataType_F32, &options.map_dims, &strides, &box));
  }
  std::vector<plan::Count> grid{plan::Count(plan::Extent_One, 1, 1)};
  std::vector launches{plan::CreateLaunchDirect(b, options.kernel_of_launch, &arguments, &grid, &maps)};
  std::vector entries{plan::CreateEntryDirect(b, "decode", plan::EntryKind_Decode, options.max_tokens,
                                              options.max_tokens, 1, 256, &options.graph_buckets, &launches)};
  return FinishPlan(b, plan::CreateTargetDirect(b, "cpu", &kernels, &weights, &entries), options.model);
}

} // namespace inlay

#endif // INLAY_TEST_RUNTIME_SMALL_PLAN_H_
