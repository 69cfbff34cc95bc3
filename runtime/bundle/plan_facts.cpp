#include "runtime/bundle/plan_facts.h"

#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "runtime/bundle/collective.h"
#include "runtime/bundle/stages.h"
#include "runtime/bundle/step_sizes.h"

namespace inlay {

using nlohmann::json;

namespace {

// "384 bytes a token", "64 bytes for 8 * ceil(tokens / 8)", "196608 bytes".
std::string Describe(const plan::View &view) {
  const plan::Count &rows = view.rows();
  if (rows.extent() == plan::Extent_One)
    return fmt::format("{} bytes", view.row_bytes() * rows.multiplier());
  std::string count = kStepSizeNames[rows.extent()];
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
                  {"max_model_len", model.max_model_len()},
                  {"max_num_seqs", model.max_num_seqs()},
                  {"max_num_batched_tokens", model.max_num_batched_tokens()},
                  {"short_rope_len", model.short_rope_len()},
                  {"cache_groups", json::array()}}},
                {"targets", json::array()},
                {"kernels", json::object()}};
  if (plan.ranks() > 1)
    facts["ranks"] = plan.ranks();
  if (StageCount(model) > 1)
    facts["model"]["stage_layers"] = std::vector<uint32_t>(model.stage_layers()->begin(), model.stage_layers()->end());
  for (const plan::CacheGroup *group : *model.cache_groups())
    facts["model"]["cache_groups"].push_back({{"layers", group->layers()->size()},
                                              {"kv_heads", group->kv_heads()},
                                              {"head_dim", group->head_dim()},
                                              {"dtype", plan::EnumNameDataType(group->type())},
                                              {"block_size", group->page_size()},
                                              {"window", group->window()}});
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
      if (const plan::LibraryProduct *product = kernel->body_as_LibraryProduct())
        kernels.back()["library"] = product->library()->str();
      if (const plan::Collective *collective = kernel->body_as_Collective()) {
        kernels.back()["collective"] = plan::EnumNameCollectiveOp(collective->op());
        if (collective->code())
          kernels.back()["exchange_bytes"] = collective->exchange_bytes();
        if (collective->epilogue())
          kernels.back()["epilogue"]["name"] = EpilogueName(*kernel);
      }
    }
  }
  // Names of a plan that no compiler wrote may be no UTF-8.
  return facts.dump(-1, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace);
}

} // namespace inlay
