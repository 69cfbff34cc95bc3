// inspect-bundle: verifies a bundle and prints its contents as text or JSON.
#include "fmt/format.h"
#include "runtime/bundle/bundle.h"
#include "runtime/bundle/cache_groups.h"
#include "runtime/bundle/recipe.h"
#include "runtime/bundle/weight_loader.h"
#include "runtime/tools/tool_support.h"

#include <algorithm>
#include <numeric>

namespace inlay::tools {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char *kExamples =
    R"(Makes the same checks as the runtime at load: versions, hashes of the plan and the kernels, and every index and
size in the plan. --verify-weights also reads all weights and checks their hashes.

Examples:
  inspect-bundle llama.inlay
  inspect-bundle llama.inlay --verify-weights
  inspect-bundle llama.inlay --json | jq '.targets[0].entries[0].launches')";

using Launches = flatbuffers::Vector<flatbuffers::Offset<plan::Launch>>;

ordered_json ToJson(const Launches *launches, const plan::Target &target) {
  ordered_json list = ordered_json::array();
  if (launches)
    for (const plan::Launch *launch : *launches) {
      ordered_json grid = ordered_json::array();
      for (const plan::Count *count : *launch->grid())
        grid.push_back({{"extent", plan::EnumNameExtent(count->extent())},
                        {"divisor", count->divisor()},
                        {"multiplier", count->multiplier()}});
      list.push_back({{"kernel", target.kernels()->Get(launch->kernel())->name()->str()},
                      {"origin", launch->origin() ? launch->origin()->str() : ""},
                      {"halves", plan::EnumNameHalves(launch->halves())},
                      {"grid", std::move(grid)}});
    }
  return list;
}

// The name of a tensor, or an object where only some of its rows are taken or in another order.
ordered_json ToJson(const plan::Source &source) {
  if (!source.steps() || source.steps()->size() == 0)
    return source.tensor()->str();
  ordered_json steps = ordered_json::array();
  for (const plan::RecipeStep *step : *source.steps()) {
    ordered_json fields = {{"op", plan::EnumNameRecipeOp(step->op())}};
    for (auto [key, value] : {std::pair("block", step->block()), std::pair("offset", step->offset()),
                              std::pair("count", step->count()), std::pair("parts", step->parts())})
      if (value != 0)
        fields[key] = value;
    if (step->op() == plan::RecipeOp_Shard)
      fields["axis"] = plan::EnumNameAxis(step->axis());
    steps.push_back(std::move(fields));
  }
  return {{"tensor", source.tensor()->str()}, {"steps", std::move(steps)}};
}

ordered_json ToJson(const flatbuffers::Vector<const plan::Transfer *> *transfers) {
  ordered_json result = ordered_json::array();
  if (transfers)
    for (const plan::Transfer *transfer : *transfers)
      result.push_back({{"offset", transfer->offset()}, {"row_bytes", transfer->row_bytes()}});
  return result;
}

ordered_json ToJson(const plan::Target &target, const json &kernel_facts, uint32_t stages) {
  ordered_json entries = ordered_json::array(), kernels = ordered_json::array(), weights = ordered_json::array();
  struct Use {
    int launches = 0;
    std::string origin; // of the first launch
  };
  std::vector<Use> uses(target.kernels() ? target.kernels()->size() : 0);
  for (const plan::Entry *entry : *target.entries()) {
    for (const Launches *part :
         {entry->launches(), entry->gathers(), entry->penalties(), entry->sampling(), entry->part_sampling()})
      if (part)
        for (const plan::Launch *launch : *part)
          if (Use &use = uses[launch->kernel()]; ++use.launches == 1 && launch->origin())
            use.origin = launch->origin()->str();
    ordered_json buckets = ordered_json::array();
    if (entry->graph_buckets())
      for (uint32_t bucket : *entry->graph_buckets())
        buckets.push_back(bucket);
    entries.push_back({{"name", entry->name()->str()},
                       {"stage", entry->stage()},
                       {"kind", plan::EnumNameEntryKind(entry->kind())},
                       {"max_tokens", entry->max_tokens()},
                       {"max_sequences", entry->max_sequences()},
                       {"query_tile_rows", entry->query_tile_rows()},
                       {"workspace_bytes", entry->workspace_bytes()},
                       {"graph_buckets", std::move(buckets)},
                       {"halves_rows", entry->halves_rows()},
                       {"half_multiple", entry->half_multiple()},
                       {"receives", ToJson(entry->receives())},
                       {"sends", ToJson(entry->sends())},
                       {"launches", ToJson(entry->launches(), target)},
                       {"gathers", ToJson(entry->gathers(), target)},
                       {"penalties", ToJson(entry->penalties(), target)},
                       {"sampling", ToJson(entry->sampling(), target)},
                       {"part_sampling", ToJson(entry->part_sampling(), target)}});
  }
  std::vector<uint64_t> stage_bytes(stages);
  if (target.weights())
    for (const plan::Weight *weight : *target.weights()) {
      stage_bytes[weight->stage()] += weight->bytes();
      if (weight->pack())
        if (Use &use = uses[weight->pack()->kernel()]; ++use.launches == 1)
          use.origin = "packs linked weights";
      ordered_json sources = ordered_json::array();
      if (weight->recipe()->sources())
        for (const plan::Source *source : *weight->recipe()->sources())
          sources.push_back(ToJson(*source));
      weights.push_back(
          {{"name", weight->name()->str()},
           {"stage", weight->stage()},
           {"type", plan::EnumNameDataType(weight->type())},
           {"rows", weight->recipe()->rows()},
           {"columns", weight->recipe()->columns()},
           {"row_order", plan::EnumNameRowOrder(weight->recipe()->row_order())},
           {"packing", plan::EnumNamePacking(weight->recipe()->packing())},
           {"sources", std::move(sources)},
           {"offset", weight->offset()},
           {"bytes", weight->bytes()},
           {"packed_by", weight->pack() ? ordered_json(target.kernels()->Get(weight->pack()->kernel())->name()->str())
                                        : ordered_json()}});
      if (HasValues(*weight->recipe()))
        weights.back()["values"] =
            std::vector<float>(weight->recipe()->values()->begin(), weight->recipe()->values()->end());
    }
  for (uint32_t i = 0; i < uses.size(); ++i) {
    const plan::Kernel &kernel = *target.kernels()->Get(i);
    ordered_json row = {{"name", kernel.name()->str()}, {"launches", uses[i].launches}, {"origin", uses[i].origin}};
    // Add the compiler's figures from the manifest (registers, shared memory).
    if (kernel_facts.is_array())
      for (const json &facts : kernel_facts)
        if (facts.is_object() && facts.value("name", json()) == row["name"])
          for (const auto &[key, value] : facts.items())
            row[key] = value;
    kernels.push_back(std::move(row));
  }
  ordered_json features = ordered_json::array();
  if (target.cpu_features())
    for (const flatbuffers::String *feature : *target.cpu_features())
      features.push_back(feature->str());
  return {{"name", target.name()->str()},
          {"cpu_features", std::move(features)},
          {"entries", std::move(entries)},
          {"kernels", std::move(kernels)},
          {"weights_bytes", std::accumulate(stage_bytes.begin(), stage_bytes.end(), uint64_t{0})},
          {"stage_weights_bytes", stage_bytes},
          {"weights", std::move(weights)}};
}

ordered_json ToJson(const Bundle &bundle) {
  json manifest = json::parse(bundle.manifest(), nullptr, /*allow_exceptions=*/false);
  const plan::Model &model = *bundle.plan().model();
  const plan::CacheGroup &cache = *model.cache_groups()->Get(0);
  ordered_json groups = ordered_json::array();
  uint64_t bytes_per_token = 0;
  for (const plan::CacheGroup *group : *model.cache_groups()) {
    groups.push_back({{"layers", std::vector<uint32_t>(group->layers()->begin(), group->layers()->end())},
                      {"window", group->window()},
                      {"kv_heads", group->kv_heads()},
                      {"head_dim", group->head_dim()},
                      {"page_bytes", 2 * group->layers()->size() * LayerPageBytes(*group)}});
    bytes_per_token += 2 * group->layers()->size() * LayerPageBytes(*group) / group->page_size();
  }
  ordered_json stages = ordered_json::array();
  for (uint32_t stage = 0; stage < StageCount(model); ++stage) {
    const LayerRange layers = LayersOfStage(model, stage);
    stages.push_back(
        {{"ranks", RanksOfStage(bundle.plan())}, {"first_layer", layers.begin}, {"layers", layers.end - layers.begin}});
  }
  ordered_json targets = ordered_json::array();
  json kernels = manifest.value("kernels", json::object());
  for (const plan::Target *target : *bundle.plan().targets())
    targets.push_back(ToJson(*target, kernels.is_object() ? kernels.value(target->name()->str(), json()) : json(),
                             StageCount(model)));
  return {{"path", bundle.path()},
          {"format_version", bundle.plan().format_version()},
          {"compiler_version", manifest.value("compiler_version", json())},
          {"model", manifest.value("model", json::object())},
          {"limits",
           {{"max_model_len", model.max_model_len()},
            {"max_num_seqs", model.max_num_seqs()},
            {"max_num_batched_tokens", model.max_num_batched_tokens()},
            {"block_size", cache.page_size()},
            {"kv_cache_dtype", plan::EnumNameDataType(cache.type())},
            {"kv_bytes_per_token", bytes_per_token}}},
          {"cache_groups", std::move(groups)},
          {"ranks", bundle.plan().ranks()},
          {"stages", std::move(stages)},
          {"weights_mode", bundle.weights_mode()},
          {"targets", std::move(targets)}};
}

std::string Plain(const ordered_json &value) { return value.is_string() ? value.get<std::string>() : Dump(value); }

// Prints aligned columns: text left-aligned, numbers right-aligned.
void PrintTable(const std::vector<std::vector<std::string>> &rows) {
  std::vector<size_t> widths(rows[0].size());
  for (const auto &row : rows)
    for (size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], row[i].size());
  for (size_t r = 0; r < rows.size(); ++r) {
    std::string line = "  ";
    for (size_t i = 0; i < widths.size(); ++i)
      line += i == 0               ? fmt::format("{:<{}}", rows[r][i], widths[i])
              : rows[0][i] == "of" ? "  " + rows[r][i]
                                   : fmt::format("  {:>{}}", rows[r][i], widths[i]);
    fmt::print("{}\n", r == 0 ? Styled(stdout, "2", line) : line);
  }
}

// How many launches of an entry run so in halves.
size_t LaunchesOf(const ordered_json &entry, plan::Halves halves) {
  return static_cast<size_t>(std::ranges::count_if(
      entry["launches"], [&](const ordered_json &launch) { return launch["halves"] == plan::EnumNameHalves(halves); }));
}

void PrintText(const ordered_json &bundle) {
  fmt::print("{}\n", Styled(stdout, "1", bundle["path"].get<std::string>()));
  fmt::print("  format {}, compiler {}, weights: {}\n", bundle["format_version"].get<int>(),
             Plain(bundle["compiler_version"]), bundle["weights_mode"].get<std::string>());
  for (const char *part : {"model", "limits"}) {
    fmt::print("\n{}\n", Styled(stdout, "1", part));
    if (bundle[part].is_object())
      for (const auto &[key, value] : bundle[part].items())
        fmt::print("  {:<24} {}\n", key, value.is_array() ? value.dump() : Plain(value));
  }
  std::vector<std::vector<std::string>> groups{{"cache group", "layers", "window", "kv heads", "head size", "page"}};
  for (const ordered_json &group : bundle["cache_groups"])
    groups.push_back({fmt::to_string(groups.size() - 1), fmt::to_string(group["layers"].size()),
                      group["window"] == 0 ? "none" : Dump(group["window"]), Dump(group["kv_heads"]),
                      Dump(group["head_dim"]), HumanBytes(group["page_bytes"].get<uint64_t>())});
  fmt::print("\n");
  PrintTable(groups);
  for (const ordered_json &target : bundle["targets"]) {
    fmt::print("\n{}\n", Styled(stdout, "1", fmt::format("target {}", target["name"].get<std::string>())));
    std::vector<std::vector<std::string>> rows{
        {"entry", "kind", "tokens", "sequences", "tile rows", "launches", "workspace", "graphs"}};
    for (const ordered_json &entry : target["entries"])
      rows.push_back(
          {entry["name"], entry["kind"], Dump(entry["max_tokens"]), Dump(entry["max_sequences"]),
           Dump(entry["query_tile_rows"]), fmt::format("{} + {}", entry["launches"].size(), entry["sampling"].size()),
           HumanBytes(entry["workspace_bytes"].get<uint64_t>()), fmt::to_string(entry["graph_buckets"].size())});
    PrintTable(rows);
    for (const ordered_json &entry : target["entries"])
      if (entry["halves_rows"] > 0)
        fmt::print(
            "  {}: in steps of at least {} tokens, {} launches run in two halves of the rows, and {} beside them\n",
            entry["name"].get<std::string>(), entry["halves_rows"].get<uint32_t>(),
            LaunchesOf(entry, plan::Halves_Main), LaunchesOf(entry, plan::Halves_Side));
    // Shows a column only if at least one kernel of the target has the value.
    rows = {{"kernel", "launches"}};
    std::vector<const char *> facts;
    for (auto [key, title] :
         {std::pair("threads", "threads"), std::pair("cluster", "cluster"), std::pair("registers", "registers"),
          std::pair("shared_bytes", "shared"), std::pair("spill_bytes", "spills"), std::pair("stack_bytes", "stack"),
          std::pair("exchange_bytes", "exchange")})
      if (std::any_of(target["kernels"].begin(), target["kernels"].end(),
                      [key = key](const ordered_json &kernel) { return kernel.contains(key); })) {
        facts.push_back(key);
        rows[0].push_back(title);
      }
    rows[0].push_back("of");
    for (const ordered_json &kernel : target["kernels"]) {
      rows.push_back({kernel["name"], Dump(kernel["launches"])});
      for (const char *key : facts)
        rows.back().push_back(kernel.contains(key) ? Plain(kernel[key]) : "-");
      rows.back().push_back(kernel["origin"]);
    }
    fmt::print("\n");
    PrintTable(rows);
    if (!target["cpu_features"].empty())
      fmt::print("\n  needs a CPU with {}\n", fmt::join(target["cpu_features"].get<std::vector<std::string>>(), " "));
    fmt::print("\n  {} weights, {}", target["weights"].size(), HumanBytes(target["weights_bytes"].get<uint64_t>()));
    const ordered_json &stages = bundle["stages"];
    if (auto ranks = stages[0]["ranks"].get<uint32_t>(); ranks != 1)
      fmt::print(" on each of {} ranks{}", ranks, stages.size() > 1 ? " of a stage" : "");
    fmt::print("\n");
    for (size_t i = 0; stages.size() > 1 && i < stages.size(); ++i)
      fmt::print("  stage {}: {} layers from {} on, {}\n", i, Dump(stages[i]["layers"]), Dump(stages[i]["first_layer"]),
                 HumanBytes(target["stage_weights_bytes"][i].get<uint64_t>()));
  }
}

absl::Status VerifyWeights(const Bundle &bundle) {
  ThreadPool pool;
  HostSink sink(pool);
  for (const plan::Target *target : *bundle.plan().targets()) {
    uint64_t bytes = 0;
    for (uint32_t stage = 0; stage < StageCount(*bundle.plan().model()); ++stage)
      bytes = std::max(bytes, WeightsBytes(*target, stage));
    std::unique_ptr<std::byte[]> memory(new std::byte[bytes]); // not zeroed
    for (uint32_t rank = 0; rank < bundle.plan().ranks(); ++rank)
      if (absl::Status status = LoadWeights(bundle, *target, memory.get(), sink, rank); !status.ok())
        return status;
  }
  return absl::OkStatus();
}

int Main(int argc, char **argv) {
  std::string path, weights_source;
  bool as_json = false, verify_weights = false;
  CLI::App app{"Verifies a bundle and prints its contents.", "inspect-bundle"};
  app.footer(kExamples);
  app.add_option("bundle", path, "Bundle directory written by compile-model")->required();
  app.add_flag("--json", as_json, "Print JSON, with every launch and weight");
  app.add_option(
         "--weights-source", weights_source,
         "Directory of the checkpoint for a bundle compiled with --weights=link (default: the path at compile time)")
      ->type_name("DIR");
  app.add_flag("--verify-weights", verify_weights, "Also read all weights and check their hashes");
  if (std::optional<int> code = Parse(app, argc, argv))
    return *code;
  absl::StatusOr<std::unique_ptr<Bundle>> bundle = Bundle::Open(path, weights_source);
  if (!bundle.ok())
    return Fail(app, bundle.status());
  if (verify_weights)
    if (absl::Status status = VerifyWeights(**bundle); !status.ok())
      return Fail(app, status);
  ordered_json facts = ToJson(**bundle);
  if (as_json)
    fmt::print("{}\n", Dump(facts));
  else
    PrintText(facts);
  return kDone;
}

} // namespace
} // namespace inlay::tools

int main(int argc, char **argv) { return inlay::tools::Main(argc, argv); }
