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
  app.add_option(
         "--target", options.target,
         "Target to run: cpu or sm_90a (default: the GPU's if the bundle has it and the GPU can run it, else cpu)")
      ->group(kGroup);
  app.add_option(
         "--weights-source", options.weights_source,
         "Directory of the checkpoint for a bundle compiled with --weights=link (default: the path at compile time)")
      ->type_name("DIR")
      ->group(kGroup);
  app.add_option("--threads", options.threads, "Host threads (default 0: one per core)")
      ->check(CLI::Range(0, 4096))
      ->group(kGroup);
  app.add_option("--tensor-parallel-size", options.tensor_parallel_size,
                 "Ranks that run each layer together, as given to compile-model; another number is an error (also -tp; "
                 "default 0: those of the bundle)")
      ->check(CLI::Range(0, 64))
      ->group(kGroup);
  app.add_option(
         "--pipeline-parallel-size", options.pipeline_parallel_size,
         "Stages of the model, as given to compile-model; another number is an error (also -pp; default 0: those "
         "of the bundle)")
      ->check(CLI::Range(0, 64))
      ->group(kGroup);
  app.add_option(
         "--distributed-timeout", options.distributed_timeout,
         "Seconds that a rank waits while no rank does anything. Then all requests fail, and /health reports the "
         "error")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--distributed-backend", options.distributed_backend,
                 "How ranks on GPUs exchange values: peer (kernels access the memory of the other GPUs), nccl, or auto "
                 "(peer where the GPUs can and the bundle has code for it, else nccl; between stages, host memory "
                 "instead of nccl)")
      ->check(CLI::IsMember({"auto", "peer", "nccl"}))
      ->capture_default_str()
      ->group(kGroup);
  app.add_option_function<std::string>(
         "--device",
         [&options](const std::string &list) {
           absl::StatusOr<std::vector<int32_t>> devices = ParseIds("--device", list, "indices of GPUs");
           if (!devices.ok())
             throw CLI::ValidationError(std::string(devices.status().message()));
           options.devices = *std::move(devices);
         },
         "The GPU of each rank, as indices among those that CUDA_VISIBLE_DEVICES leaves, for example 2,3 (also -dev; "
         "default: the first that can run the target). With 0,0 two ranks share GPU 0, for a check of several ranks on "
         "one GPU: that is slow")
      ->type_name("LIST")
      ->group(kGroup);
  app.add_option("--nccl", options.nccl,
                 "Path of libnccl.so.2 or its directory, for ranks that exchange through NCCL (default: CUDA_HOME, "
                 "Python wheels, the system's library path)")
      ->group(kGroup);
  app.add_option(
         "--rendezvous", options.process.rendezvous,
         "With mpirun: name by which the processes of the ranks find each other on this host (default: mpirun's "
         "job)")
      ->type_name("NAME")
      ->group(kGroup);
  app.add_option("--gpu-memory-utilization", options.gpu_memory_utilization,
                 "Fraction of GPU memory to use for weights, activations and KV pages, in (0, 1]")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option(
         "--kv-cache-memory-bytes", options.kv_cache_bytes,
         "Size of the KV cache in bytes, for example 4GiB (default: the memory that is left; on the cpu at most 4 GiB)")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
      ->group(kGroup);
  app.add_option("--max-model-len", options.max_model_len,
                 "Maximum tokens of a sequence, prompt and output together (default: the bundle's limit, which is also "
                 "the maximum)")
      ->group(kGroup);
  app.add_option("--max-num-seqs", options.max_num_seqs,
                 "Maximum sequences in one step (default: the bundle's limit, which is also the maximum)")
      ->group(kGroup);
  app.add_option("--max-num-batched-tokens", options.max_num_batched_tokens,
                 "Maximum tokens in one step (default: the bundle's limit, which is also the maximum)")
      ->group(kGroup);
  app.add_flag("--enforce-eager", options.enforce_eager, "Launch kernels one by one instead of with CUDA graphs")
      ->group(kGroup);
  app.add_flag("--enable-prefix-caching,!--no-enable-prefix-caching", options.enable_prefix_caching,
               "Reuse keys and values of earlier prompts with the same beginning (default: on)")
      ->group(kGroup);
  app.add_flag_callback(
         "--no-async-scheduling", [&options] { options.async_scheduling = false; },
         "Plan a step only after the one before has finished (default on the cpu and with speculative decoding)")
      ->group(kGroup);
  app.add_option(
         "--scheduling-policy", options.scheduling_policy,
         "Order of requests: fcfs (first come, first served) or priority (lowest `priority` of the request first)")
      ->check(CLI::IsMember({"fcfs", "priority"}))
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--preemption-mode", options.preemption_mode,
                 "What happens to the KV pages of a preempted sequence: recompute (dropped and computed again) or swap "
                 "(copied to host memory and back)")
      ->check(CLI::IsMember({"recompute", "swap"}))
      ->capture_default_str()
      ->group(kGroup);
  app.add_option_function<double>(
         "--swap-space",
         [&options](double gib) { options.swap_space_bytes = static_cast<uint64_t>(gib * (uint64_t{1} << 30)); },
         "Host memory for --preemption-mode swap, in GiB (default 4)")
      ->check(CLI::Range(0.0, 1e6))
      ->group(kGroup);
  app.add_option("--cublaslt", options.cublaslt,
                 "Path of libcublasLt.so or its directory, for bundles compiled with --library (default: CUDA_HOME, "
                 "Python wheels, the system's library path)")
      ->group(kGroup);
  app.add_option("--trace", options.trace_path,
                 "Write a trace of steps and requests to this file, for Perfetto or chrome://tracing")
      ->group(kGroup);
  app.add_option("--watchdog-seconds", options.watchdog_seconds,
                 "Longest time of a step in seconds. A longer step fails all requests, and /health reports the error "
                 "(default 0: no limit)")
      ->group(kGroup);
  app.add_flag("--deterministic", options.deterministic,
               "Use the same kernels for steps of all sizes, so that results do not depend on the other requests of a "
               "step (slower; always on for the cpu)")
      ->group(kGroup);
  app.add_option(
         "--num-speculative-tokens", options.num_speculative_tokens,
         "Number of draft tokens per step, from n-grams of the sequence or from --speculative-model (default 0: off)")
      ->group(kGroup);
  app.add_option("--speculative-model", options.speculative_model,
                 "Bundle of a smaller model with the same vocabulary that proposes the draft tokens")
      ->group(kGroup);
}

absl::StatusOr<std::vector<int32_t>> ParseIds(std::string_view flag, std::string_view text, std::string_view what) {
  std::vector<int32_t> ids;
  const char *at = text.data(), *end = at + text.size();
  while (true) {
    while (at != end && *at == ' ')
      ++at;
    int32_t id = 0;
    auto [rest, error] = std::from_chars(at, end, id);
    if (error != std::errc() || (rest != end && *rest != ','))
      return absl::InvalidArgumentError(fmt::format("{}: expected {} separated by commas, as in 1,2,3; found '{}'",
                                                    flag, what, std::string(at, std::find(at, end, ','))));
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
  // The signal is blocked in this thread and in all threads that are started later. Only the watching thread receives
  // it.
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
