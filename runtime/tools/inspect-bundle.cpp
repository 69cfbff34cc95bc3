// inspect-bundle: what a bundle holds, verified as the loader does it.
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "runtime/bundle/bundle.h"
#include "runtime/support/version.h"
#include "runtime/tools/flags.h"

#include <cstdio>

namespace {

using namespace inlay;
using nlohmann::json;

json Describe(const plan::Target &target) {
  json entries = json::array(), weights = json::array();
  for (const plan::Entry *entry : *target.entries()) {
    json launches = json::array();
    for (const auto *part : {entry->launches(), entry->penalties(), entry->sampling()})
      if (part)
        for (const plan::Launch *launch : *part)
          launches.push_back({{"kernel", target.kernels()->Get(launch->kernel())->name()->str()},
                              {"origin", launch->origin() ? launch->origin()->str() : ""}});
    entries.push_back({{"name", entry->name()->str()},
                       {"kind", plan::EnumNameEntryKind(entry->kind())},
                       {"max_tokens", entry->max_tokens()},
                       {"max_sequences", entry->max_sequences()},
                       {"workspace_bytes", entry->workspace_bytes()},
                       {"launches", std::move(launches)}});
  }
  uint64_t bytes = 0;
  if (target.weights())
    for (const plan::Weight *weight : *target.weights()) {
      bytes += weight->bytes();
      weights.push_back({{"name", weight->name()->str()},
                         {"type", plan::EnumNameDataType(weight->type())},
                         {"rows", weight->recipe()->rows()},
                         {"columns", weight->recipe()->columns()},
                         {"row_order", plan::EnumNameRowOrder(weight->recipe()->row_order())},
                         {"packing", plan::EnumNamePacking(weight->recipe()->packing())},
                         {"bytes", weight->bytes()}});
    }
  return {{"name", target.name()->str()}, {"entries", entries}, {"weights", weights}, {"weights_bytes", bytes}};
}

void Print(const json &bundle) {
  const json &model = bundle["manifest"]["model"];
  fmt::print("{}\n", bundle["path"].get<std::string>());
  fmt::print("model     {}\n", model.dump(-1, ' ', false, json::error_handler_t::replace));
  fmt::print("compiler  {}\nweights   {}\n", bundle["manifest"].value("compiler_version", ""),
             bundle["weights"].get<std::string>());
  for (const json &target : bundle["targets"]) {
    fmt::print("\ntarget {}: {} weights, {:.1f} MiB\n", target["name"].get<std::string>(), target["weights"].size(),
               target["weights_bytes"].get<double>() / (1 << 20));
    for (const json &entry : target["entries"])
      fmt::print("  entry {:12} {:6}  up to {} tokens of {} sequences, {} launches, workspace {:.1f} MiB\n",
                 entry["name"].get<std::string>(), entry["kind"].get<std::string>(), entry["max_tokens"].get<int>(),
                 entry["max_sequences"].get<int>(), entry["launches"].size(),
                 entry["workspace_bytes"].get<double>() / (1 << 20));
    const json kernels =
        bundle["manifest"].value("kernels", json::object()).value(target["name"].get<std::string>(), json::array());
    for (const json &kernel : kernels)
      fmt::print("  kernel {}\n", kernel.dump(-1, ' ', false, json::error_handler_t::replace));
  }
}

} // namespace

int main(int argc, char **argv) {
  std::string path;
  bool as_json = false;
  CLI::App app{"Shows what a bundle holds, after verifying it as the runtime does.\n\n  inspect-bundle llama.inlay\n"};
  app.set_version_flag("--version", VersionLine("inspect-bundle"));
  app.add_option("bundle", path, "Directory that compile-model wrote")->required();
  app.add_flag("--json", as_json, "Print JSON, with every launch and weight");
  if (int code = tools::Parse(app, argc, argv); code >= 0)
    return code;
  absl::StatusOr<std::unique_ptr<Bundle>> bundle = Bundle::Open(path);
  if (!bundle.ok())
    return tools::Fail("inspect-bundle", bundle.status());
  json result = {{"path", path},
                 {"weights", (*bundle)->weights_mode()},
                 {"manifest", json::parse((*bundle)->manifest(), nullptr, false)},
                 {"targets", json::array()}};
  for (const plan::Target *target : *(*bundle)->plan().targets())
    result["targets"].push_back(Describe(*target));
  if (as_json)
    std::fputs((result.dump(2, ' ', false, json::error_handler_t::replace) + "\n").c_str(), stdout);
  else
    Print(result);
  return tools::kDone;
}
