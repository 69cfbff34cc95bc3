#include "runtime/tools/tool_support.h"

#include "fmt/format.h"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <unistd.h>

namespace inlay::tools {

int Fail(const CLI::App &app, const absl::Status &status) {
  fmt::print(stderr, "{}: {}\n", app.get_name(), std::string(status.message()));
  return absl::IsInternal(status) || absl::IsUnknown(status) ? kOurs : kUsersInput;
}

CLI::Option *AddRepeated(CLI::App &app, const std::string &name, const std::string &description) {
  return app.add_option(name)
      ->description(description)
      ->type_name("TEXT")
      ->type_size(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
}

void AddEngineFlags(CLI::App &app, EngineOptions &options) {
  constexpr const char *kGroup = "Engine";
  app.add_option("--target", options.target, "cpu or sm_90a (default: a GPU's if there is one that fits)")
      ->group(kGroup);
  app.add_option("--weights-source", options.weights_source,
                 "Checkpoint of a bundle compiled with --weights=link, if it is not where it was (a copy of it)")
      ->type_name("DIR")
      ->group(kGroup);
  app.add_option("--threads", options.threads, "Threads of the host (default: one a core)")
      ->check(CLI::Range(0, 4096))
      ->group(kGroup);
  app.add_option("--gpu-memory-utilization", options.gpu_memory_utilization,
                 "Share of the GPU's memory for weights, activations and KV pages")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--kv-cache-memory-bytes", options.kv_cache_bytes,
                 "Bytes of KV pages, as in 4GiB (default: what fits)")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
      ->group(kGroup);
  app.add_option("--max-model-len", options.max_model_len, "Positions of a sequence, up to the bundle's bound")
      ->group(kGroup);
  app.add_option("--max-num-seqs", options.max_num_seqs, "Sequences of a step, up to the bundle's bound")
      ->group(kGroup);
  app.add_option("--max-num-batched-tokens", options.max_num_batched_tokens, "Rows of a step, up to the bundle's bound")
      ->group(kGroup);
  app.add_flag("--enforce-eager", options.enforce_eager, "No CUDA graphs")->group(kGroup);
  app.add_flag("--enable-prefix-caching,!--no-enable-prefix-caching", options.enable_prefix_caching,
               "Use the keys and values of prompts that began in the same way (default: yes)")
      ->group(kGroup);
  app.add_flag_callback(
         "--no-async-scheduling", [&options] { options.async_scheduling = false; },
         "Wait for a step's tokens before the next one is planned (default on the cpu and with guesses)")
      ->group(kGroup);
  app.add_option("--scheduling-policy", options.scheduling_policy,
                 "fcfs: who came first runs first; priority: a request's `priority` counts, the lowest first")
      ->check(CLI::IsMember({"fcfs", "priority"}))
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--preemption-mode", options.preemption_mode,
                 "recompute, or swap: pages of preempted sequences go to the host's memory and back")
      ->check(CLI::IsMember({"recompute", "swap"}))
      ->capture_default_str()
      ->group(kGroup);
  app.add_option_function<double>(
         "--swap-space",
         [&options](double gib) { options.swap_space_bytes = static_cast<uint64_t>(gib * (uint64_t{1} << 30)); },
         "GiB of the host's memory for --preemption-mode swap (4)")
      ->check(CLI::Range(0.0, 1e6))
      ->group(kGroup);
  app.add_option("--cublaslt", options.cublaslt,
                 "libcublasLt.so or its folder, for bundles that leave products to it (default: CUDA_HOME, wheels, the "
                 "system's)")
      ->group(kGroup);
  app.add_option("--trace", options.trace_path, "Write what the scheduler does to this file, for Perfetto")
      ->group(kGroup);
  app.add_option("--watchdog-seconds", options.watchdog_seconds,
                 "A step that takes longer ends all requests and turns /health red (0: no limit)")
      ->group(kGroup);
  app.add_flag("--deterministic", options.deterministic,
               "The same bits whatever runs beside a request: the same kernels for steps of all sizes (on the cpu "
               "always so)")
      ->group(kGroup);
  app.add_option("--num-speculative-tokens", options.num_speculative_tokens,
                 "Tokens guessed from a sequence's own text and verified in one step (0)")
      ->group(kGroup);
  app.add_option("--speculative-model", options.speculative_model,
                 "Bundle of a smaller model of the same vocabulary that guesses them instead")
      ->group(kGroup);
}

absl::StatusOr<std::vector<int32_t>> ParseIds(std::string_view flag, std::string_view text) {
  std::vector<int32_t> ids;
  const char *at = text.data(), *end = at + text.size();
  while (true) {
    while (at != end && *at == ' ')
      ++at;
    int32_t id = 0;
    auto [rest, error] = std::from_chars(at, end, id);
    if (error != std::errc() || (rest != end && *rest != ','))
      return absl::InvalidArgumentError(
          fmt::format("{}: expected token ids separated by commas, as in 1,2,3; found '{}'", flag,
                      std::string(at, std::find(at, end, ','))));
    ids.push_back(id);
    if (rest == end)
      return ids;
    at = rest + 1;
  }
}

std::string Dump(const nlohmann::ordered_json &value) {
  return value.dump(2, ' ', /*ensure_ascii=*/false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string HumanBytes(uint64_t bytes) {
  constexpr const char *kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit)
    value /= 1024;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string Styled(std::FILE *stream, std::string_view attribute, std::string_view text) {
  const char *no_color = std::getenv("NO_COLOR");
  if (!isatty(fileno(stream)) || (no_color && *no_color))
    return std::string(text);
  return fmt::format("\033[{}m{}\033[0m", attribute, text);
}

namespace {

sigset_t InterruptSet() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  return set;
}

} // namespace

Interrupts::Interrupts() {
  // Blocked here and so in every thread started later; only the watching thread takes the signal.
  sigset_t set = InterruptSet();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  thread_ = std::thread([this] { Watch(); });
}

Interrupts::~Interrupts() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  pthread_kill(thread_.native_handle(), SIGINT);
  thread_.join();
}

void Interrupts::Watch() {
  sigset_t set = InterruptSet();
  for (int signal = 0; sigwait(&set, &signal) == 0;) {
    std::function<void()> action;
    {
      std::lock_guard lock(mutex_);
      if (stopping_)
        return;
      interrupted_ = true;
      std::swap(action, action_);
    }
    if (!action)
      _exit(kInterrupted);
    action();
  }
}

void Interrupts::OnInterrupt(std::function<void()> action) {
  std::lock_guard lock(mutex_);
  action_ = std::move(action);
  interrupted_ = false;
}

bool Interrupts::interrupted() const {
  std::lock_guard lock(mutex_);
  return interrupted_;
}

} // namespace inlay::tools
