// Engines of the C interface: loading and statistics.
#include "runtime/c/handles.h"
#include "runtime/c/support.h"

namespace inlay::c {
namespace {

inlay_engine_options ToC(const EngineOptions &options) {
  inlay_engine_options result{};
  result.threads = options.threads;
  result.enforce_eager = options.enforce_eager;
  result.gpu_memory_utilization = options.gpu_memory_utilization;
  result.kv_cache_bytes = options.kv_cache_bytes;
  result.max_model_len = options.max_model_len;
  result.max_num_seqs = options.max_num_seqs;
  result.max_num_batched_tokens = options.max_num_batched_tokens;
  result.max_waiting = options.max_waiting;
  result.enable_prefix_caching = options.enable_prefix_caching;
  result.deterministic = options.deterministic;
  result.async_scheduling = options.async_scheduling ? *options.async_scheduling : -1;
  result.num_speculative_tokens = options.num_speculative_tokens;
  result.swap_space_bytes = options.swap_space_bytes;
  result.watchdog_seconds = options.watchdog_seconds;
  result.tensor_parallel_size = options.tensor_parallel_size;
  result.pipeline_parallel_size = options.pipeline_parallel_size;
  result.distributed_timeout = options.distributed_timeout;
  return result;
}

absl::StatusOr<EngineOptions> FromC(const inlay_engine_options *given) {
  inlay_engine_options options = ToC({});
  if (absl::Status status = Read("inlay_engine_options", given, &options); !status.ok())
    return status;
  if (options.async_scheduling < -1 || options.async_scheduling > 1)
    return absl::InvalidArgumentError(
        fmt::format("async_scheduling is {}, expected 1 (yes), 0 (no) or -1 (on a GPU)", options.async_scheduling));
  EngineOptions result;
  auto text = [](const char *found, std::string &field) {
    if (found)
      field = found;
  };
  text(options.target, result.target);
  text(options.scheduling_policy, result.scheduling_policy);
  text(options.preemption_mode, result.preemption_mode);
  text(options.trace_path, result.trace_path);
  text(options.speculative_model, result.speculative_model);
  text(options.weights_source, result.weights_source);
  text(options.distributed_backend, result.distributed_backend);
  result.threads = options.threads;
  result.enforce_eager = options.enforce_eager != 0;
  result.gpu_memory_utilization = options.gpu_memory_utilization;
  result.kv_cache_bytes = options.kv_cache_bytes;
  result.max_model_len = options.max_model_len;
  result.max_num_seqs = options.max_num_seqs;
  result.max_num_batched_tokens = options.max_num_batched_tokens;
  result.max_waiting = options.max_waiting;
  result.enable_prefix_caching = options.enable_prefix_caching != 0;
  result.deterministic = options.deterministic != 0;
  if (options.async_scheduling >= 0)
    result.async_scheduling = options.async_scheduling == 1;
  result.num_speculative_tokens = options.num_speculative_tokens;
  result.swap_space_bytes = options.swap_space_bytes;
  result.watchdog_seconds = options.watchdog_seconds;
  result.tensor_parallel_size = options.tensor_parallel_size;
  result.pipeline_parallel_size = options.pipeline_parallel_size;
  result.distributed_timeout = options.distributed_timeout;
  if (options.device_count == 0)
    return result;
  if (absl::Status status = NotNull(options.devices, "devices"); !status.ok())
    return status;
  result.devices.assign(options.devices, options.devices + options.device_count);
  return result;
}

} // namespace
} // namespace inlay::c

using inlay::c::Call;

inlay_status inlay_engine_options_init(inlay_engine_options *options, size_t struct_size, int32_t program_version) {
  return inlay::c::Init("inlay_engine_options", inlay::c::ToC({}), options, struct_size, program_version);
}

inlay_status inlay_engine_plan(const char *bundle, const inlay_engine_options *options, inlay_memory_plan *plan,
                               char **explanation) {
  return Call([&]() -> absl::Status {
    if (absl::Status status = inlay::c::NotNull(bundle, "bundle"); !status.ok())
      return status;
    absl::StatusOr<inlay::EngineOptions> given = inlay::c::FromC(options);
    if (!given.ok())
      return given.status();
    absl::StatusOr<inlay::MemoryPlan> found = inlay::Engine::Plan(bundle, *given);
    if (!found.ok())
      return found.status();
    inlay_memory_plan result{};
    result.free_bytes = found->free_bytes;
    result.usable_bytes = found->usable_bytes;
    result.weights_bytes = found->weights_bytes;
    result.workspace_bytes = found->workspace_bytes;
    result.buffers_bytes = found->buffers_bytes;
    result.kv_cache_bytes = found->kv_cache_bytes;
    result.bytes_per_page = found->bytes_per_page;
    result.page_size = found->page_size;
    result.total_pages = found->total_pages;
    result.kv_cache_tokens = found->kv_cache_tokens;
    result.max_model_len = found->max_model_len;
    result.max_num_seqs = found->max_num_seqs;
    result.max_num_batched_tokens = found->max_num_batched_tokens;
    result.full_length_sequences = found->full_length_sequences;
    result.draft_bytes = found->draft_bytes;
    result.ranks = found->ranks;
    if (absl::Status status = inlay::c::Write("inlay_memory_plan", result, plan); !status.ok())
      return status;
    size_t size;
    return explanation ? inlay::c::Give(found->explanation.data(), found->explanation.size(), explanation, &size)
                       : absl::OkStatus();
  });
}

inlay_status inlay_engine_load(const char *bundle, const inlay_engine_options *options, inlay_engine **engine) {
  return Call([&]() -> absl::Status {
    if (absl::Status status = inlay::c::NotNull(engine, "engine"); !status.ok())
      return status;
    *engine = nullptr;
    if (absl::Status status = inlay::c::NotNull(bundle, "bundle"); !status.ok())
      return status;
    absl::StatusOr<inlay::EngineOptions> given = inlay::c::FromC(options);
    if (!given.ok())
      return given.status();
    absl::StatusOr<std::unique_ptr<inlay::Engine>> loaded = inlay::Engine::Load(bundle, *given);
    if (!loaded.ok())
      return loaded.status();
    inlay::EngineStats stats = (*loaded)->Stats();
    *engine = new inlay_engine{*std::move(loaded), stats.target, stats.device, bundle};
    return absl::OkStatus();
  });
}

inlay_status inlay_engine_shutdown(inlay_engine *engine, double timeout_seconds) {
  return Call([&]() -> absl::Status {
    if (absl::Status status = inlay::c::NotNull(engine, "engine"); !status.ok())
      return status;
    absl::StatusOr<inlay::c::Deadline> deadline = inlay::c::DeadlineIn(timeout_seconds);
    return deadline.ok() ? engine->engine->Shutdown(*deadline) : deadline.status();
  });
}

inlay_status inlay_engine_health(const inlay_engine *engine) {
  return Call([&]() -> absl::Status {
    if (absl::Status status = inlay::c::NotNull(engine, "engine"); !status.ok())
      return status;
    return engine->engine->Stats().health;
  });
}

void inlay_engine_free(inlay_engine *engine) { delete engine; }

inlay_status inlay_engine_stats(const inlay_engine *engine, inlay_stats *stats) {
  return Call([&]() -> absl::Status {
    if (absl::Status status = inlay::c::NotNull(engine, "engine"); !status.ok())
      return status;
    inlay::EngineStats found = engine->engine->Stats();
    inlay_stats result{};
    result.load_seconds = found.load_seconds;
    result.weights_seconds = found.weights_seconds;
    result.weights_bytes = found.weights_bytes;
    result.workspace_bytes = found.workspace_bytes;
    result.kv_cache_bytes = found.kv_cache_bytes;
    result.kv_cache_tokens = found.kv_cache_tokens;
    result.max_model_len = found.max_model_len;
    result.max_num_seqs = found.max_num_seqs;
    result.max_num_batched_tokens = found.max_num_batched_tokens;
    result.running = found.running;
    result.waiting = found.waiting;
    result.free_pages = found.free_pages;
    result.total_pages = found.total_pages;
    result.cached_pages = found.cached_pages;
    result.steps = found.steps;
    result.prompt_tokens = found.prompt_tokens;
    result.generation_tokens = found.generation_tokens;
    result.preemptions = found.preemptions;
    result.draft_tokens = found.draft_tokens;
    result.accepted_draft_tokens = found.accepted_draft_tokens;
    result.prefix_cache_queries = found.prefix_cache_queries;
    result.prefix_cache_hits = found.prefix_cache_hits;
    result.swapped_out_pages = found.swapped_out_pages;
    result.swapped_in_pages = found.swapped_in_pages;
    result.finished_stop = found.finished_stop;
    result.finished_length = found.finished_length;
    result.finished_cancelled = found.finished_cancelled;
    result.finished_error = found.finished_error;
    return inlay::c::Write("inlay_stats", result, stats);
  });
}

const char *inlay_engine_target(const inlay_engine *engine) { return engine ? engine->target.c_str() : ""; }
const char *inlay_engine_device(const inlay_engine *engine) { return engine ? engine->device.c_str() : ""; }
