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
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace inlay {

// How tokens are chosen. Names and defaults are those of vLLM.
struct SamplingParams {
  float temperature = 1.0f;        // 0 is greedy
  int32_t top_k = 0;               // 0 is off
  float top_p = 1.0f;              // in (0, 1]; 1 is off
  float min_p = 0.0f;              // in [0, 1]; 0 is off
  float repetition_penalty = 1.0f; // above 0; 1 is off
  float presence_penalty = 0.0f;   // in [-2, 2]
  float frequency_penalty = 0.0f;  // in [-2, 2]
  std::optional<uint32_t> seed;    // the same seed gives the same tokens, whatever else runs
  int32_t max_tokens = 16;         // at least 1
  bool ignore_eos = false;         // go on after the end of the sequence
  std::vector<int32_t> stop_token_ids;
  std::vector<std::string> stop; // ends before the first of these in the text
  int32_t logprobs = -1;         // this many most likely tokens with each token; -1: none
};

// One thing to generate. Either `prompt` or `prompt_token_ids` is given.
struct Request {
  std::string prompt;
  std::vector<int32_t> prompt_token_ids;
  bool add_special_tokens = true;
  SamplingParams sampling;
};

struct TokenLogprob {
  int32_t id = 0;
  float logprob = 0; // natural logarithm
};

// One generated token.
struct Piece {
  int32_t token_id = 0;
  std::string text; // what the token completes; may be empty in the middle of a character
  float logprob = 0;
  std::vector<TokenLogprob> top;              // the most likely ones, if asked for
  std::vector<float> logits;                  // all logits of the row, if EngineOptions::return_logits
  std::chrono::steady_clock::time_point time; // when its step was done
};

enum class FinishReason { kNone, kStop, kLength, kCancelled, kError };

// A request on its way. Dropping it cancels it.
class RequestHandle {
public:
  virtual ~RequestHandle() = default;
  // Waits for the next token; nothing after the last one.
  virtual std::optional<Piece> Next() = 0;
  virtual void Cancel() = 0;
  virtual FinishReason finish_reason() const = 0;
  // Why a request ended with kError.
  virtual absl::Status status() const = 0;
  virtual const std::vector<int32_t> &prompt_token_ids() const = 0;
};

struct EngineOptions {
  std::string target;                  // "cpu", "sm_90a"; empty: a GPU's if there is one that fits, else cpu
  int threads = 0;                     // of the host; 0: one a core
  double gpu_memory_utilization = 0.9; // share of the GPU's memory for weights, workspace and KV pages
  uint64_t kv_cache_bytes = 0; // of the pages; 0: what memory allows (cpu: enough for all sequences, at most 4 GiB)
  int32_t max_model_len = 0;   // lowers the bundle's bound; 0: the bundle's
  int32_t max_num_seqs = 0;
  int32_t max_num_batched_tokens = 0;
  bool enforce_eager = false; // no CUDA graphs
  bool return_logits = false; // Piece::logits, for tests
};

// A conversation in the form of OpenAI's API.
struct ChatRequest {
  std::string messages_json;  // a list of objects: [{"role": "user", "content": "Hi"}]
  std::string variables_json; // an object with what else the template may name: tools, documents, enable_thinking
  bool add_generation_prompt = true; // end where the assistant's answer begins
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
  int32_t total_pages = 0;
};

class Engine {
public:
  // Opens a bundle, verifies it and brings its weights to the device.
  static absl::StatusOr<std::unique_ptr<Engine>> Load(const std::string &bundle, const EngineOptions &options);
  virtual ~Engine() = default;

  // Checks a request and queues it. InvalidArgument names the field, what was found and what is possible.
  virtual absl::StatusOr<std::unique_ptr<RequestHandle>> Submit(const Request &request) = 0;

  // Text to ids and back with the bundle's tokenizer; FailedPrecondition if it has none.
  virtual absl::StatusOr<std::vector<int32_t>> Tokenize(const std::string &text, bool add_special_tokens) const = 0;
  virtual absl::StatusOr<std::string> Detokenize(const std::vector<int32_t> &ids) const = 0;
  // A conversation as the prompt that the model was trained on; FailedPrecondition if the bundle has no chat template.
  // The template writes special tokens itself: submit the text with add_special_tokens = false.
  virtual absl::StatusOr<std::string> ApplyChatTemplate(const ChatRequest &chat) const = 0;
  // What the checkpoint recommends (generation_config.json), on top of the defaults above.
  virtual SamplingParams default_sampling() const = 0;
  virtual EngineStats Stats() const = 0;
};

} // namespace inlay

#endif // INLAY_RUNTIME_API_INLAY_H_
