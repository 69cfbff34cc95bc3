#include "runtime/tools/flags.h"

#include "fmt/format.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

namespace inlay::tools {

int Parse(CLI::App &app, int argc, char **argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  for (std::string &argument : arguments)
    if (argument.starts_with("--"))
      for (size_t i = 2; i < argument.size() && argument[i] != '='; ++i)
        if (argument[i] == '_')
          argument[i] = '-';
  std::reverse(arguments.begin(), arguments.end());
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError &error) {
    return app.exit(error) == 0 ? kDone : kUserError;
  }
  return -1;
}

void AddEngineFlags(CLI::App &app, EngineOptions &options) {
  app.add_option("--target", options.target, "cpu or sm_90a (default: a GPU if the bundle and the machine have one)");
  app.add_option("--threads", options.threads, "Threads of the cpu target (default: one a core)");
  app.add_option("--max-model-len", options.max_model_len, "Lowers the bundle's positions of a sequence");
  app.add_option("--max-num-seqs", options.max_num_seqs, "Lowers the bundle's sequences of a step");
  app.add_option("--max-num-batched-tokens", options.max_num_batched_tokens, "Lowers the bundle's rows of a step");
  app.add_option("--gpu-memory-utilization", options.gpu_memory_utilization,
                 "Share of the GPU's free memory to use (default 0.9)");
  app.add_option("--kv-cache-memory-bytes", options.kv_cache_bytes, "Bytes of KV pages (default: what is left)");
  app.add_flag("--enforce-eager", options.enforce_eager, "No CUDA graphs");
}

int Fail(const std::string &tool, const absl::Status &status) {
  fmt::print(stderr, "{}: {}\n", tool, std::string(status.message()));
  return absl::IsInternal(status) ? kInternalError : kUserError;
}

absl::StatusOr<std::vector<int32_t>> ParseIds(const std::string &text) {
  std::vector<int32_t> ids;
  const char *at = text.data(), *end = at + text.size();
  while (at < end) {
    int32_t id = 0;
    auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc() || (next < end && *next != ','))
      return absl::InvalidArgumentError(fmt::format(
          "--prompt-ids holds '{}', expected token ids with commas between, like 1,2,3", std::string(at, end)));
    ids.push_back(id);
    at = next < end ? next + 1 : next;
  }
  return ids;
}

} // namespace inlay::tools
