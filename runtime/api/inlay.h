// Runs a compiled language model inside an application.
//
//   auto engine = inlay::Engine::Load("llama.inlay", {});
//   auto request = (*engine)->Submit({.prompt = "Once upon a time", .sampling = {.max_tokens = 64}});
//   while (auto piece = (*request)->Next()) std::cout << piece->text;
//
// All functions may be called from any thread. Errors are absl::Status; nothing throws.
#ifndef INLAY_RUNTIME_API_INLAY_H_
#define INLAY_RUNTIME_API_INLAY_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace inlay {

// Guided decoding: a constraint on the generated text. At most one of these is set.
struct GuidedParams {
  std::string json_schema = {};         // a JSON Schema; "{}" is any JSON
  std::string regex = {};               // the whole text matches this regular expression
  std::string grammar = {};             // an EBNF grammar with start rule `root`
  std::vector<std::string> choice = {}; // the text is one of these

  bool empty() const { return json_schema.empty() && regex.empty() && grammar.empty() && choice.empty(); }
};

// Sampling parameters. Names and defaults are those of vLLM.
struct SamplingParams {
  int32_t n = 1;                   // sequences to return; Piece::index says which one
  int32_t best_of = 0;             // generate this many and return the `n` most likely; 0: n
  float temperature = 1.0f;        // 0 is greedy
  int32_t top_k = 0;               // 0 is off
  float top_p = 1.0f;              // in (0, 1]; 1 is off
  float min_p = 0.0f;              // in [0, 1]; 0 is off
  float repetition_penalty = 1.0f; // above 0; 1 is off
  float presence_penalty = 0.0f;   // in [-2, 2]
  float frequency_penalty = 0.0f;  // in [-2, 2]
  std::optional<uint32_t> seed;    // the same seed gives the same tokens, for any other load
  int32_t max_tokens = 16;         // at least 1
  int32_t min_tokens = 0;          // no end token, stop string or stop_token_ids before this many
  bool ignore_eos = false;         // continue after an end token
  std::vector<int32_t> stop_token_ids;
  std::vector<std::string> stop;           // the text ends before the first of these
  bool include_stop_str_in_output = false; // the text ends after the stop string, or with the stop token's text
  bool skip_special_tokens = true;         // remove special tokens from the text
  // Log-probabilities are computed from the model's logits, before logit_bias, penalties, masks and temperature (vLLM's
  // raw_logprobs).
  int32_t logprobs = -1;                  // this many most likely tokens with each token; -1: none
  int32_t prompt_logprobs = -1;           // the same for each token of the prompt; -1: none
  std::map<int32_t, float> logit_bias;    // token id -> value added to its logit, in [-100, 100]
  std::vector<int32_t> allowed_token_ids; // only these are generated; empty: all
  // Words that must not be generated, at the beginning of a word or within one. The token that would complete one is
  // masked. At most 1,024 words of at most 1,024 bytes. Needs a tokenizer.
  std::vector<std::string> bad_words;
  GuidedParams guided;
};

// A request. Exactly one of `prompt` and `prompt_token_ids` is set.
struct Request {
  std::string prompt;
  std::vector<int32_t> prompt_token_ids;
  bool add_special_tokens = true;
  SamplingParams sampling;
  int32_t priority = 0; // lower runs earlier; 0 unless EngineOptions::scheduling_policy is "priority"
  // Time at which the request fails with DeadlineExceeded, for example std::chrono::steady_clock::now() + 10s.
  std::optional<std::chrono::steady_clock::time_point> deadline = {};
  // Prefix caching shares keys and values only between requests with the same salt.
  std::string cache_salt = {};
  bool enable_prefix_caching = true; // false: neither uses nor fills the prefix cache
  // Called by a thread of the engine when pieces or the end are available. It must return at once and must not call the
  // engine. With it, no thread has to wait in Next().
  std::function<void()> on_progress = {};
};

struct TokenLogprob {
  int32_t id = 0;
  float logprob = 0; // natural logarithm
  int32_t rank = 0;  // number of tokens that are at least as likely; 1: the most likely token
};

// Log-probabilities at one token of the prompt.
struct PromptLogprob {
  TokenLogprob token;
  std::vector<TokenLogprob> top;
};

// One generated token.
struct Piece {
  int32_t index = 0; // index of the sequence, in [0, n)
  int32_t token_id = 0;
  std::string text; // text completed by this token; may be empty inside a character
  float logprob = 0;
  int32_t rank = 0;                           // TokenLogprob::rank, if log-probabilities were requested
  std::vector<TokenLogprob> top;              // the most likely tokens, if requested
  std::vector<float> logits;                  // all logits of the row, if EngineOptions::return_logits
  std::chrono::steady_clock::time_point time; // end of its step
};

enum class FinishReason { kNone, kStop, kLength, kCancelled, kError };
std::string_view ToString(FinishReason reason); // "none", "stop", "length", "cancelled", "error"

// What ended a sequence with kStop: a stop string, a token of stop_token_ids, or an end token of the checkpoint other
// than the tokenizer's. Both are empty for the tokenizer's end token and for other finish reasons.
struct StopReason {
  std::optional<int32_t> token_id;
  std::string text;

  bool operator==(const StopReason &) const = default;
};

// Times of a request; nullopt for events that have not happened.
struct RequestTimings {
  using Time = std::chrono::steady_clock::time_point;
  Time queued;
  std::optional<Time> scheduled; // its first step began
  std::optional<Time> first_token;
  std::optional<Time> finished;
};

// A running request. Destroying the handle cancels the request.
class RequestHandle {
public:
  virtual ~RequestHandle() = default;
  // Waits for the next token; nullopt after the last one.
  virtual std::optional<Piece> Next() = 0;
  // Waits until `deadline`, then returns DeadlineExceeded; the request continues. Does not wait if it has passed.
  virtual absl::StatusOr<std::optional<Piece>> Next(std::chrono::steady_clock::time_point deadline) = 0;
  virtual void Cancel() = 0;
  // Finish reason of sequence `index`; kNone while it runs.
  virtual FinishReason finish_reason(int32_t index = 0) const = 0;
  virtual StopReason stop_reason(int32_t index = 0) const = 0;
  virtual RequestTimings timings() const = 0;
  // Tokens of the prompt that were found in the prefix cache.
  virtual int32_t cached_prompt_tokens() const = 0;
  // One per token of the prompt after the first, if requested; available after the first piece.
  virtual std::vector<PromptLogprob> prompt_logprobs() const = 0;
  // The error of a request that ended with kError.
  virtual absl::Status status() const = 0;
  virtual const std::vector<int32_t> &prompt_token_ids() const = 0;
};

// One of the processes that run the ranks of a bundle on one host, a rank each. All are started with the same other
// options.
struct ProcessOptions {
  int32_t rank = 0;
  int32_t ranks = 0;      // 0: this process runs all ranks
  std::string rendezvous; // a name by which the processes find each other; no two engines of a host have the same
};

struct EngineOptions {
  std::string target;              // "cpu", "sm_90a"; empty: the GPU's if it can run, else cpu
  std::string weights_source = {}; // directory of the checkpoint of a bundle with linked weights; empty: as compiled
  std::string cublaslt = {};       // path of libcublasLt.so or its directory, if the bundle needs it; empty: searched
  int threads = 0;                 // host threads; 0: one per core
  double gpu_memory_utilization = 0.9; // fraction of GPU memory for weights, workspace and KV pages, in (0, 1]
  uint64_t kv_cache_bytes =
      0; // size of the KV cache; 0: the memory that is left (cpu: enough for all sequences, at most 4 GiB)
  int32_t max_model_len = 0; // at most the bundle's limit; 0: the bundle's limit
  int32_t max_num_seqs = 0;
  int32_t max_num_batched_tokens = 0;
  // The ranks of the bundle (compile-model --tensor-parallel-size, --pipeline-parallel-size). Each has a host thread,
  // its part of the weights and of the KV cache. Another number than the bundle's is an error; 0: the bundle's.
  int32_t tensor_parallel_size = 0;   // that run a stage together
  int32_t pipeline_parallel_size = 0; // stages
  double distributed_timeout = 10;    // seconds that a rank waits while no rank does anything, then all requests fail
  // How ranks on GPUs exchange values: "peer" (GPUs access each other's memory), "nccl", or "auto". With "auto", ranks
  // of a stage use peer where the GPUs can and the bundle has code for it, else nccl. Rows from one stage to the next
  // use peer where the two GPUs can, else pinned host memory. Ranks on the cpu take "auto".
  std::string distributed_backend = "auto";
  // The GPU of each rank, by its index among those that CUDA_VISIBLE_DEVICES leaves. A GPU that is there several times
  // runs these ranks, which is slow and for checks (docs/distributed.md). Empty: the first ones that can run the
  // target, one for each rank. Must be empty on the cpu.
  // If a GPU is there several times, Engine::Load() calls setenv() for CUDA_DEVICE_MAX_CONNECTIONS and
  // CUDA_MODULE_LOADING, unless they are set. An application with threads that read the environment sets them itself,
  // before it starts these: to 32 and EAGER.
  std::vector<int32_t> devices = {};
  std::string nccl = {};       // path of libnccl.so.2 or its directory, if it is used; empty: searched
  ProcessOptions process = {}; // the process of rank 0 loads the engine, the others call Engine::RunRank()
  int32_t max_waiting = 0;     // maximum waiting requests, then ResourceExhausted; 0: no limit
  bool enforce_eager = false;  // no CUDA graphs
  bool enable_prefix_caching = true;
  std::string scheduling_policy = "fcfs";        // or "priority"
  std::string preemption_mode = "recompute";     // or "swap": KV pages are copied to host memory and back
  uint64_t swap_space_bytes = uint64_t{4} << 30; // host memory for "swap"; if it is full: recompute
  bool deterministic = false;                    // results do not depend on other requests; always so on the cpu
  // Speculative decoding: number of draft tokens per step, from n-grams of the sequence (prompt lookup). 0: off. The
  // generated tokens are the same as without. On a GPU, steps of different sizes run different kernels with different
  // rounding, so near ties can differ unless `deterministic` is set.
  int32_t num_speculative_tokens = 0;
  // A bundle of a smaller model with the same vocabulary that proposes the draft tokens, on the same device.
  std::string speculative_model = {};
  // Plan the next step while one runs; nullopt: only on a GPU. Does not change the generated tokens.
  std::optional<bool> async_scheduling;
  double watchdog_seconds = 0; // a longer step fails all requests; 0: no limit
  std::string trace_path;      // write a Chrome trace of the scheduler to this file; empty: none
  bool return_logits = false;  // Piece::logits, for tests
};

// A conversation in the form of OpenAI's API.
struct ChatRequest {
  // [{"role": "user", "content": "Hi"}]: a list of objects. Templates without the role `developer` get `system`.
  std::string messages_json;
  std::string variables_json;          // an object with other template variables: tools, documents, enable_thinking
  bool add_generation_prompt = true;   // end with the beginning of an assistant message
  bool continue_final_message = false; // end inside the last message; the answer continues it
};

// A histogram in the form of Prometheus.
struct Histogram {
  std::vector<double> bounds;  // upper bounds, ascending
  std::vector<int64_t> counts; // one more than bounds: the last counts values above all bounds
  double sum = 0;
  int64_t count = 0;
};

// The memory that a bundle needs and the KV cache that fits, computed without allocating any of it.
struct MemoryPlan {
  std::string target;
  std::string device;
  int32_t ranks = 1;         // of all stages; sizes in bytes are those of the first rank
  uint64_t free_bytes = 0;   // free memory of the device now
  uint64_t usable_bytes = 0; // part of it that may be used (gpu_memory_utilization)
  uint64_t weights_bytes = 0;
  uint64_t workspace_bytes = 0; // activations
  uint64_t buffers_bytes = 0;   // metadata of steps, logits, tokens
  uint64_t draft_bytes = 0;     // total of the speculative model, including its KV pages
  uint64_t kv_cache_bytes = 0;
  uint64_t bytes_per_page = 0;
  int32_t page_size = 0; // tokens
  int32_t total_pages = 0;
  int64_t kv_cache_tokens = 0;
  int32_t max_model_len = 0;
  int32_t max_num_seqs = 0;
  int32_t max_num_batched_tokens = 0;
  int64_t full_length_sequences = 0; // sequences of max_model_len tokens that fit at once
  std::string explanation;           // human-readable: what limits the KV cache, and which flag changes that
};

struct EngineStats {
  std::string target; // of the bundle: "cpu", "sm_90a"
  std::string device;
  int32_t ranks = 1;       // of all stages; sizes in bytes are those of the first rank
  std::string distributed; // where several ranks run and exchange: "GPUs 0, 1 through peer memory"; empty: one rank
  double load_seconds = 0;
  double weights_seconds = 0; // of load_seconds: making and transferring weights
  uint64_t weights_bytes = 0;
  uint64_t workspace_bytes = 0;
  uint64_t kv_cache_bytes = 0;
  int64_t kv_cache_tokens = 0;
  int32_t max_model_len = 0;
  int32_t max_num_seqs = 0;
  int32_t max_num_batched_tokens = 0;
  int64_t steps = 0;
  int64_t prompt_tokens = 0;
  int64_t generation_tokens = 0;
  int32_t running = 0;
  int32_t waiting = 0;
  int32_t free_pages = 0;
  int32_t total_pages = 0;  // free_pages counts pages that only the prefix cache has
  int32_t cached_pages = 0; // of the free ones
  int64_t preemptions = 0;
  int64_t draft_tokens = 0, accepted_draft_tokens = 0; // proposed, and accepted
  int64_t prefix_cache_queries = 0;                    // prompt tokens looked up in the cache
  int64_t prefix_cache_hits = 0;                       // tokens found
  int64_t swapped_out_pages = 0, swapped_in_pages = 0;
  // Requests by how they ended.
  int64_t finished_stop = 0, finished_length = 0, finished_cancelled = 0, finished_error = 0;
  Histogram time_to_first_token, inter_token_latency, e2e_latency, queue_time; // seconds
  // Seconds from a request's first step to its first token, from there to its last one, and both.
  Histogram prefill_time, decode_time, inference_time;
  Histogram step_tokens; // rows of a step
  absl::Status health;   // not OK: the error after which the engine stopped
};

class Engine {
public:
  // Opens a bundle, verifies it and loads its weights onto the device.
  static absl::StatusOr<std::unique_ptr<Engine>> Load(const std::string &bundle, const EngineOptions &options);
  // The memory that Load() would allocate with these options, and what limits it. Allocates nothing on the device.
  static absl::StatusOr<MemoryPlan> Plan(const std::string &bundle, const EngineOptions &options);
  // Runs rank options.process.rank, which is not 0, until the process of rank 0 ends the engine. Returns the error that
  // ended it.
  static absl::Status RunRank(const std::string &bundle, const EngineOptions &options);
  virtual ~Engine() = default;

  // Validates a request and queues it. InvalidArgument: names the field, the value found and the values expected.
  // ResourceExhausted: the queue is full (EngineOptions::max_waiting).
  virtual absl::StatusOr<std::unique_ptr<RequestHandle>> Submit(const Request &request) = 0;

  // Converts text to token ids and back. FailedPrecondition: the bundle has no tokenizer.
  virtual absl::StatusOr<std::vector<int32_t>> Tokenize(const std::string &text, bool add_special_tokens) const = 0;
  virtual absl::StatusOr<std::string> Detokenize(const std::vector<int32_t> &ids) const = 0;
  // Renders a conversation with the chat template. FailedPrecondition: the bundle has no chat template.
  // The template writes special tokens itself, so submit the text with add_special_tokens = false.
  virtual absl::StatusOr<std::string> ApplyChatTemplate(const ChatRequest &chat) const = 0;
  // The defaults above, with the values of the checkpoint's generation_config.json.
  virtual SamplingParams default_sampling() const = 0;
  // max_new_tokens of generation_config.json, if set; it is then also default_sampling().max_tokens. As in vLLM, a
  // server uses it as the upper limit of max_tokens.
  virtual std::optional<int32_t> default_max_tokens() const = 0;
  virtual EngineStats Stats() const = 0;
  // Accepts no more requests and waits for the running ones. DeadlineExceeded: some requests had not finished at the
  // deadline and were cancelled.
  virtual absl::Status Shutdown(std::chrono::steady_clock::time_point deadline) = 0;
};

} // namespace inlay

#endif // INLAY_RUNTIME_API_INLAY_H_
