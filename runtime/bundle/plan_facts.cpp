#include "runtime/bundle/plan_facts.h"

#include "fmt/format.h"
#include "nlohmann/json.hpp"

#include <array>

namespace inlay {

using nlohmann::json;

namespace {

// "384 bytes a token", "64 bytes for 8 * ceil(tokens / 8)", "196608 bytes".
std::string Describe(const plan::View &view) {
  constexpr std::array<const char *, plan::Extent_MAX + 1> kExtents = {
      "tokens", "sequences", "query_tiles", "logit_rows", "penalty_entries", "kv_rows", "1"};
  const plan::Count &rows = view.rows();
  auto extent = static_cast<size_t>(rows.extent());
  if (rows.extent() == plan::Extent_One)
    return fmt::format("{} bytes", view.row_bytes() * rows.multiplier());
  std::string count = extent < kExtents.size() ? kExtents[extent] : fmt::format("extent {}", extent);
  if (rows.divisor() != 1)
    count = fmt::format("ceil({} / {})", count, rows.divisor());
  return fmt::format("{} * {} bytes", count, view.row_bytes() * rows.multiplier());
}

} // namespace

std::string PlanFacts(const plan::Plan &plan) {
  const plan::Model &model = *plan.model();
  json facts = {{"model",
                 {{"vocab_size", model.vocab_size()},
                  {"layers", model.layers()},
                  {"kv_heads", model.kv_heads()},
                  {"head_dim", model.head_dim()},
                  {"max_model_len", model.max_model_len()},
                  {"max_num_seqs", model.max_num_seqs()},
                  {"max_num_batched_tokens", model.max_num_batched_tokens()},
                  {"block_size", model.page_size()}}},
                {"targets", json::array()},
                {"kernels", json::object()}};
  for (const plan::Target *target : *plan.targets()) {
    if (target->cpu_features() && target->cpu_features()->size() > 0)
      for (const flatbuffers::String *feature : *target->cpu_features())
        facts["cpu_features"].push_back(feature->str());
    facts["targets"].push_back(target->name()->str());
    json &kernels = facts["kernels"][target->name()->str()] = json::array();
    for (const plan::Kernel *kernel : *target->kernels()) {
      json views = json::array();
      if (kernel->views())
        for (const plan::View *view : *kernel->views())
          views.push_back(Describe(*view));
      kernels.push_back({{"name", kernel->name()->str()}, {"views", std::move(views)}});
      if (kernel->library())
        kernels.back()["library"] = kernel->library()->library()->str();
    }
  }
  return facts.dump();
}

} // namespace inlay
