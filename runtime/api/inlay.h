// Runs a compiled language model inside an application.
//
//   auto engine = inlay::Engine::Load("llama.inlay", {});
//   auto request = (*engine)->Submit({.prompt = "Once upon a time", .sampling = {.max_tokens = 64}});
//   while (auto piece = (*request)->Next()) std::cout << piece->text;
//
// Everything here may be called from any thread. Errors are absl::Status; nothing throws.
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

// A form that the text must take; at most one of these is given.
struct GuidedParams {
  std::string json_schema = {};         // a JSON Schema; "{}" is any JSON
  std::string regex = {};               // a regular expression for all of the text
  std::string grammar = {};             // EBNF with a rule `root`
  std::vector<std::string> choice = {}; // one of these texts

  bool empty() const { return json_schema.empty() && regex.empty() && grammar.empty() && choice.empty(); }
};

// How tokens are chosen. Names and defaults are those of vLLM.
struct SamplingParams {
  int32_t n = 1;                   // sequences to return; pieces name theirs by `index`
  int32_t best_of = 0;             // of so many sequences the `n` likeliest are returned; 0: n
  float temperature = 1.0f;        // 0 is greedy
  int32_t top_k = 0;               // 0 is off
  float top_p = 1.0f;              // in (0, 1]; 1 is off
  float min_p = 0.0f;              // in [0, 1]; 0 is off
  float repetition_penalty = 1.0f; // above 0; 1 is off
  float presence_penalty = 0.0f;   // in [-2, 2]
  float frequency_penalty = 0.0f;  // in [-2, 2]
  std::optional<uint32_t> seed;    // the same seed gives the same tokens, whatever else runs
  int32_t max_tokens = 16;         // at least 1
  int32_t min_tokens = 0;          // no end of the sequence, stop string or stop_token_ids before so many
  bool ignore_eos = false;         // go on after the end of the sequence
  std::vector<int32_t> stop_token_ids;
  std::vector<std::string> stop;           // ends before the first of these in the text
  bool include_stop_str_in_output = false; // the text ends after the stop string, or with the stop token's text
  bool skip_special_tokens = true;         // special tokens are no part of the text
  // Log-probabilities are those of the model's own logits, before logit_bias, penalties, masks and temperature (vLLM's
  // raw_logprobs).
  int32_t logprobs = -1;                  // this many most likely tokens with each token; -1: none
  int32_t prompt_logprobs = -1;           // the same for each token of the prompt; -1: none
  std::map<int32_t, float> logit_bias;    // token id -> what is added to its logit, in [-100, 100]
  std::vector<int32_t> allowed_token_ids; // no other token is generated; empty: all are allowed
  // Words that are not generated, at the beginning of a word or within one: the token that would complete one is
  // masked. At most 1,024 of at most 1,024 bytes; needs a tokenizer.
  std::vector<std::string> bad_words;
  GuidedParams guided;
};

// One thing to generate. Either `prompt` or `prompt_token_ids` is given.
struct Request {
  std::string prompt;
  std::vector<int32_t> prompt_token_ids;
  bool add_special_tokens = true;
  SamplingParams sampling;
  int32_t priority = 0; // lower runs earlier; 0 unless EngineOptions::scheduling_policy is "priority"
  // When the request fails with DeadlineExceeded. From the call of Submit(): std::chrono::steady_clock::now() + ...
  std::optional<std::chrono::steady_clock::time_point> deadline = {};
  // Prompts share the keys and values of a common beginning with requests of the same salt alone.
  std::string cache_salt = {};
  bool enable_prefix_caching = true; // false: neither uses what others computed nor leaves it to them
  // Called after pieces or the end were handed out, by a thread of the engine: it must return at once and not call the
  // engine. With it no thread has to wait in Next().
  std::function<void()> on_progress = {};
};

struct TokenLogprob {
  int32_t id = 0;
  float logprob = 0; // natural logarithm
  int32_t rank = 0;  // 1: no token is likelier; counts the tokens that are at least as likely
};

// What the model made of one token of the prompt.
struct PromptLogprob {
  TokenLogprob token;
  std::vector<TokenLogprob> top;
};

// One generated token.
struct Piece {
  int32_t index = 0; // of the sequence, in [0, n)
  int32_t token_id = 0;
  std::string text; // what the token completes; may be empty in the middle of a character
  float logprob = 0;
  int32_t rank = 0;                           // TokenLogprob::rank, where log-probabilities were asked for
  std::vector<TokenLogprob> top;              // the most likely ones, if asked for
  std::vector<float> logits;                  // all logits of the row, if EngineOptions::return_logits
  std::chrono::steady_clock::time_point time; // when its step was done
};

enum class FinishReason { kNone, kStop, kLength, kCancelled, kError };
std::string_view ToString(FinishReason reason); // "none", "stop", "length", "cancelled", "error"

// What ended a sequence with kStop: a stop string, a token of stop_token_ids or an end token of the checkpoint other
// than the tokenizer's own. Neither: the tokenizer's end token, or another reason.
struct StopReason {
  std::optional<int32_t> token_id;
  std::string text;

  bool operator==(const StopReason &) const = default;
};

// When things happened to a request; nothing for what has not happened.
struct RequestTimings {
  using Time = std::chrono::steady_clock::time_point;
  Time queued;
  std::optional<Time> scheduled; // its first step began
  std::optional<Time> first_token;
  std::optional<Time> finished;
};

// A request on its way. Dropping it cancels it.
class RequestHandle {
public:
  virtual ~RequestHandle() = default;
  // Waits for the next token; nothing after the last one.
  virtual std::optional<Piece> Next() = 0;
  // The same until `deadline`, then DeadlineExceeded; the request goes on. A deadline that has passed never waits.
  virtual absl::StatusOr<std::optional<Piece>> Next(std::chrono::steady_clock::time_point deadline) = 0;
  virtual void Cancel() = 0;
  // Of the request's sequence `index`; kNone while it runs.
  virtual FinishReason finish_reason(int32_t index = 0) const = 0;
  virtual StopReason stop_reason(int32_t index = 0) const = 0;
  virtual RequestTimings timings() const = 0;
  // Tokens of the prompt whose keys and values were found in the cache.
  virtual int32_t cached_prompt_tokens() const = 0;
  // One for each token of the prompt after the first, if asked for and the first piece was handed out.
  virtual std::vector<PromptLogprob> prompt_logprobs() const = 0;
  // Why a request ended with kError.
  virtual absl::Status status() const = 0;
  virtual const std::vector<int32_t> &prompt_token_ids() const = 0;
};

struct EngineOptions {
  std::string target;                  // "cpu", "sm_90a"; empty: a GPU's if there is one that fits, else cpu
  std::string weights_source = {};     // of a bundle with linked weights: where a copy of the checkpoint is
  std::string cublaslt = {};           // libcublasLt.so or its folder, where a bundle needs it; empty: searched
  int threads = 0;                     // of the host; 0: one a core
  double gpu_memory_utilization = 0.9; // share of the GPU's memory for weights, workspace and KV pages
  uint64_t kv_cache_bytes = 0; // of the pages; 0: what memory allows (cpu: enough for all sequences, at most 4 GiB)
  int32_t max_model_len = 0;   // lowers the bundle's bound; 0: the bundle's
  int32_t max_num_seqs = 0;
  int32_t max_num_batched_tokens = 0;
  int32_t max_waiting = 0;    // requests that may wait; beyond them ResourceExhausted; 0: no limit
  bool enforce_eager = false; // no CUDA graphs
  bool enable_prefix_caching = true;
  std::string scheduling_policy = "fcfs";        // or "priority"
  std::string preemption_mode = "recompute";     // or "swap": pages are brought to the host's memory and back
  uint64_t swap_space_bytes = uint64_t{4} << 30; // of the host's memory, for "swap"; where it is full: recompute
  bool deterministic = false; // the same bits whatever runs beside a request; on the cpu it is always so
  // Tokens that are guessed from a sequence's own text (prompt lookup) and verified in one step, for less latency where
  // answers repeat their prompts. Tokens are those without; on a GPU, where steps of other sizes run other kernels and
  // so round otherwise, only with `deterministic` at near ties too. 0: none.
  int32_t num_speculative_tokens = 0;
  // A bundle of a smaller model with the same vocabulary that guesses them instead, on the same device.
  std::string speculative_model = {};
  // The next step is planned while one runs; nothing: on a GPU. What is generated is the same.
  std::optional<bool> async_scheduling;
  double watchdog_seconds = 0; // a step that takes longer fails all requests; 0: no limit
  std::string trace_path;      // a Chrome trace of the scheduler is written here; empty: none
  bool return_logits = false;  // Piece::logits, for tests
};

// A conversation in the form of OpenAI's API.
struct ChatRequest {
  // [{"role": "user", "content": "Hi"}]: a list of objects. Templates without the role `developer` get `system`.
  std::string messages_json;
  std::string variables_json; // an object with what else the template may name: tools, documents, enable_thinking
  bool add_generation_prompt = true;   // end where the assistant's answer begins
  bool continue_final_message = false; // end within the last message, which the answer goes on with
};

// Observations in buckets, as Prometheus has them.
struct Histogram {
  std::vector<double> bounds;  // upper bounds, ascending
  std::vector<int64_t> counts; // one more than bounds: the last is of what is above all
  double sum = 0;
  int64_t count = 0;
};

// What a bundle needs and what then fits, found without allocating any of it.
struct MemoryPlan {
  std::string target;
  std::string device;
  uint64_t free_bytes = 0;   // of the device now
  uint64_t usable_bytes = 0; // of them, by --gpu-memory-utilization
  uint64_t weights_bytes = 0;
  uint64_t workspace_bytes = 0; // activations
  uint64_t buffers_bytes = 0;   // metadata of steps, logits, tokens
  uint64_t draft_bytes = 0;     // all that a speculative model takes, its KV pages too
  uint64_t kv_cache_bytes = 0;
  uint64_t bytes_per_page = 0;
  int32_t page_size = 0; // tokens
  int32_t total_pages = 0;
  int64_t kv_cache_tokens = 0;
  int32_t max_model_len = 0;
  int32_t max_num_seqs = 0;
  int32_t max_num_batched_tokens = 0;
  int64_t full_length_sequences = 0; // sequences of max_model_len tokens that fit at once
  std::string explanation;           // for people: what limits it, and which flag changes that
};

struct EngineStats {
  std::string target; // of the bundle: "cpu", "sm_90a"
  std::string device;
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
  int64_t draft_tokens = 0, accepted_draft_tokens = 0; // guessed, and found right
  int64_t prefix_cache_queries = 0;                    // tokens of prompts looked for in the cache
  int64_t prefix_cache_hits = 0;                       // tokens found
  int64_t swapped_out_pages = 0, swapped_in_pages = 0;
  // Requests by how they ended.
  int64_t finished_stop = 0, finished_length = 0, finished_cancelled = 0, finished_error = 0;
  Histogram time_to_first_token, inter_token_latency, e2e_latency, queue_time; // seconds
  // Seconds from a request's first step to its first token, from there to its last one, and both.
  Histogram prefill_time, decode_time, inference_time;
  Histogram step_tokens; // rows of a step
  absl::Status health;   // why nothing runs any more, if so
};

class Engine {
public:
  // Opens a bundle, verifies it and brings its weights to the device.
  static absl::StatusOr<std::unique_ptr<Engine>> Load(const std::string &bundle, const EngineOptions &options);
  // What would be allocated by Load() with these options, and what limits it. Allocates nothing on the device.
  static absl::StatusOr<MemoryPlan> Plan(const std::string &bundle, const EngineOptions &options);
  virtual ~Engine() = default;

  // Checks a request and queues it. InvalidArgument names the field, what was found and what is possible;
  // ResourceExhausted: the queue is full (EngineOptions::max_waiting).
  virtual absl::StatusOr<std::unique_ptr<RequestHandle>> Submit(const Request &request) = 0;

  // Text to ids and back with the bundle's tokenizer; FailedPrecondition if it has none.
  virtual absl::StatusOr<std::vector<int32_t>> Tokenize(const std::string &text, bool add_special_tokens) const = 0;
  virtual absl::StatusOr<std::string> Detokenize(const std::vector<int32_t> &ids) const = 0;
  // A conversation as the prompt that the model was trained on; FailedPrecondition if the bundle has no chat template.
  // The template writes special tokens itself: submit the text with add_special_tokens = false.
  virtual absl::StatusOr<std::string> ApplyChatTemplate(const ChatRequest &chat) const = 0;
  // What the checkpoint recommends (generation_config.json), on top of the defaults above.
  virtual SamplingParams default_sampling() const = 0;
  // Its max_new_tokens, if it names one: default_sampling().max_tokens is then this. As in vLLM, a server takes it for
  // the most tokens of an answer.
  virtual std::optional<int32_t> default_max_tokens() const = 0;
  virtual EngineStats Stats() const = 0;
  // Takes no more requests and waits for those that it has; those left at the deadline are cancelled, which
  // DeadlineExceeded tells.
  virtual absl::Status Shutdown(std::chrono::steady_clock::time_point deadline) = 0;
};

} // namespace inlay

#endif // INLAY_RUNTIME_API_INLAY_H_
