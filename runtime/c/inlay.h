/* Runs a compiled language model inside a program, in C or through a foreign function interface.
 *
 *     inlay_engine_options options;
 *     inlay_engine *engine;
 *     if (inlay_engine_options_init(&options, sizeof options, INLAY_ABI_VERSION) != INLAY_OK ||
 *         inlay_engine_load("llama.inlay", &options, &engine) != INLAY_OK)
 *       die(inlay_last_error());
 *
 * - Handles are opaque. A handle is released by the _free call of its type, which accepts NULL.
 * - A call that can fail returns an inlay_status. inlay_last_error() then returns one line with what was found, what
 * was expected and the fix.
 * - Structures that the program fills in begin with struct_size. The _init call of a structure takes its sizeof and
 * sets the defaults. Later versions append fields, and programs compiled with an earlier version keep working.
 * - Texts are UTF-8. Texts with a size may contain zero bytes; texts without a size end at the first zero byte.
 * - All calls may be made from any thread, unless said otherwise. No exception or signal crosses this interface.
 * - An engine belongs to the process that loaded it. A child made by fork() has none of its threads: it must make no
 *   call with the engine or its requests, not even to free them.
 */
#ifndef INLAY_H
#define INLAY_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#error "Inlay runs on Linux"
#elif defined(INLAY_BUILDING_LIBRARY)
#define INLAY_API __attribute__((visibility("default")))
#else
#define INLAY_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Versions ---------------------------------------------------------------------------------------------------- */

/* The version of this header: major * 1000 + minor. A program can use a library with the same major version and the
 * same or a later minor version. Minor versions only add to the interface. */
#define INLAY_ABI_VERSION 1006

/* The library's INLAY_ABI_VERSION. */
INLAY_API int32_t inlay_abi_version(void);

/* The library's release and commit: "0.1.0 (1a2b3c4d5e6f)". */
INLAY_API const char *inlay_version(void);

/* ---- Errors ------------------------------------------------------------------------------------------------------ */

/* Numbers are those of gRPC and Abseil. */
typedef int32_t inlay_status;
enum {
  INLAY_OK = 0,
  INLAY_CANCELLED = 1,
  INLAY_INVALID_ARGUMENT = 3,    /* an argument is invalid, in any state of the engine */
  INLAY_DEADLINE_EXCEEDED = 4,   /* the deadline of a request or of a shutdown has passed */
  INLAY_NOT_FOUND = 5,           /* a file or directory does not exist */
  INLAY_RESOURCE_EXHAUSTED = 8,  /* there is not enough memory, KV pages or space in the queue */
  INLAY_FAILED_PRECONDITION = 9, /* the bundle or engine cannot do this: no tokenizer, wrong version */
  INLAY_UNIMPLEMENTED = 12,
  INLAY_INTERNAL = 13, /* a bug in Inlay */
  INLAY_UNAVAILABLE = 14,
  INLAY_DATA_LOSS = 15, /* a file of the bundle does not match its hash */
  /* These are not errors: */
  INLAY_END = 100,    /* the request has returned its last token */
  INLAY_TIMEOUT = 101 /* no result within the timeout of this call; call it again */
};

/* "INVALID_ARGUMENT", for logs. */
INLAY_API const char *inlay_status_name(inlay_status status);

/* The error message of the last failed call of this thread; "" if none failed. Messages are stored per thread, so calls
 * of other threads do not replace them. Valid until the next failing call of this thread. */
INLAY_API const char *inlay_last_error(void);

/* Checks that a program compiled with `program_version` (its INLAY_ABI_VERSION) can use this library. If not, returns
 * INLAY_FAILED_PRECONDITION, and the message says which of the two to update. The _init calls make the same check. */
INLAY_API inlay_status inlay_check_abi(int32_t program_version);

/* ---- Engine ------------------------------------------------------------------------------------------------------ */

typedef struct inlay_engine inlay_engine;

typedef struct inlay_engine_options {
  size_t struct_size;
  const char *target;              /* "cpu", "sm_90a"; NULL: the GPU's if it can run, else cpu */
  int32_t threads;                 /* host threads; 0: one per core */
  int32_t enforce_eager;           /* not 0: no CUDA graphs */
  double gpu_memory_utilization;   /* in (0, 1]: fraction of GPU memory for weights, workspace and KV pages */
  uint64_t kv_cache_bytes;         /* size of the KV cache; 0: the memory that is left */
  int32_t max_model_len;           /* tokens of a sequence, at most the bundle's limit; 0: that limit */
  int32_t max_num_seqs;            /* sequences in one step, at most the bundle's limit; 0: that limit */
  int32_t max_num_batched_tokens;  /* tokens in one step, at most the bundle's limit; 0: that limit */
  int32_t max_waiting;             /* maximum waiting requests, then INLAY_RESOURCE_EXHAUSTED; 0: no limit */
  int32_t enable_prefix_caching;   /* 1: prompts with a common prefix share its keys and values */
  int32_t deterministic;           /* not 0: results do not depend on other requests; always so on the cpu */
  int32_t async_scheduling;        /* plan the next step while one runs: 1 yes, 0 no, -1 only on a GPU */
  int32_t num_speculative_tokens;  /* draft tokens per step, from n-grams of the sequence; 0: off */
  const char *scheduling_policy;   /* "fcfs" (NULL) or "priority" */
  const char *preemption_mode;     /* "recompute" (NULL) or "swap": KV pages are copied to host memory and back */
  uint64_t swap_space_bytes;       /* host memory for "swap" */
  double watchdog_seconds;         /* a step that takes longer fails all requests; 0: no limit */
  const char *trace_path;          /* a Chrome trace of the scheduler is written here; NULL: none */
  const char *speculative_model;   /* bundle of a smaller model that proposes draft tokens; NULL: none. Since 1.1 */
  const char *weights_source;      /* checkpoint of a bundle with linked weights; NULL: as compiled. Since 1.2 */
  int32_t tensor_parallel_size;    /* ranks that run each layer, those of the bundle; 0: any. Since 1.4 */
  int32_t pipeline_parallel_size;  /* stages, those of the bundle; 0: any. Since 1.4 */
  double distributed_timeout;      /* seconds that a rank waits while no rank acts, then all requests fail. Since 1.4 */
  const char *distributed_backend; /* how ranks on GPUs exchange: "auto" (NULL), "peer" or "nccl". "auto" is peer where
                                      the GPUs can and the bundle has code for it; where not, it is nccl in a stage, and
                                      host memory between stages. Since 1.5 */
  const int32_t *devices;          /* GPU of each rank; equal ones share it, for checks. NULL: any. Since 1.6.
                                      For equal ones, loading calls setenv() for CUDA_DEVICE_MAX_CONNECTIONS=32 and
                                      CUDA_MODULE_LOADING=EAGER, unless they are set. A program whose other threads read
                                      the environment sets them before it starts these */
  size_t device_count;             /* the ranks of the bundle, or 0. Since 1.6 */
} inlay_engine_options;

INLAY_API inlay_status inlay_engine_options_init(inlay_engine_options *options, size_t struct_size,
                                                 int32_t program_version);

/* The memory that a bundle needs and the KV cache that fits, computed without allocating any of it. */
typedef struct inlay_memory_plan {
  size_t struct_size;
  uint64_t free_bytes;   /* free memory of the device now */
  uint64_t usable_bytes; /* part of it that may be used (gpu_memory_utilization) */
  uint64_t weights_bytes;
  uint64_t workspace_bytes; /* activations */
  uint64_t buffers_bytes;   /* metadata of steps, logits, tokens */
  uint64_t kv_cache_bytes;
  uint64_t bytes_per_page;
  int32_t page_size; /* tokens */
  int32_t total_pages;
  int64_t kv_cache_tokens;
  int32_t max_model_len;
  int32_t max_num_seqs;
  int32_t max_num_batched_tokens;
  int64_t full_length_sequences; /* sequences of max_model_len tokens that fit at once */
  uint64_t draft_bytes;          /* total of the speculative model, including its KV pages. Since 1.2 */
  int32_t ranks;                 /* that run the bundle; sizes in bytes are those of the first one. Since 1.4 */
} inlay_memory_plan;

/* The caller sets plan->struct_size, and releases *explanation (what limits the KV cache) by inlay_free. NULL: none. */
INLAY_API inlay_status inlay_engine_plan(const char *bundle, const inlay_engine_options *options,
                                         inlay_memory_plan *plan, char **explanation);

/* Opens a bundle, verifies it and loads its weights onto the device. *engine is NULL on failure. */
INLAY_API inlay_status inlay_engine_load(const char *bundle, const inlay_engine_options *options,
                                         inlay_engine **engine);

/* Accepts no more requests and waits for the others. INLAY_DEADLINE_EXCEEDED: some were cancelled after the timeout. */
INLAY_API inlay_status inlay_engine_shutdown(inlay_engine *engine, double timeout_seconds);

/* INLAY_OK, or the error after which the engine stopped. */
INLAY_API inlay_status inlay_engine_health(const inlay_engine *engine);

/* Cancels all requests (they end with INLAY_CANCELLED) and waits for the running step. Requests may be freed before or
 * after. No other call with this engine may be running. */
INLAY_API void inlay_engine_free(inlay_engine *engine);

typedef struct inlay_stats {
  size_t struct_size;
  double load_seconds;
  double weights_seconds; /* of load_seconds: making and transferring weights */
  uint64_t weights_bytes;
  uint64_t workspace_bytes;
  uint64_t kv_cache_bytes;
  int64_t kv_cache_tokens;
  int32_t max_model_len;
  int32_t max_num_seqs;
  int32_t max_num_batched_tokens;
  int32_t running; /* requests */
  int32_t waiting; /* requests */
  int32_t total_pages;
  int32_t free_pages;   /* including pages that only the prefix cache holds */
  int32_t cached_pages; /* of the free ones */
  int64_t steps;
  int64_t prompt_tokens;
  int64_t generation_tokens;
  int64_t preemptions;
  int64_t draft_tokens;          /* proposed */
  int64_t accepted_draft_tokens; /* and accepted */
  int64_t prefix_cache_queries;  /* prompt tokens looked up in the cache */
  int64_t prefix_cache_hits;     /* tokens found */
  int64_t swapped_out_pages;
  int64_t swapped_in_pages;
  int64_t finished_stop; /* requests by how they ended */
  int64_t finished_length;
  int64_t finished_cancelled;
  int64_t finished_error;
} inlay_stats;

/* The caller sets stats->struct_size to sizeof(inlay_stats); the fields that fit are filled in. */
INLAY_API inlay_status inlay_engine_stats(const inlay_engine *engine, inlay_stats *stats);

/* The bundle's target ("cpu") and the device's name; they live as long as the engine. */
INLAY_API const char *inlay_engine_target(const inlay_engine *engine);
INLAY_API const char *inlay_engine_device(const inlay_engine *engine);

/* ---- Text -------------------------------------------------------------------------------------------------------- */

/* Release the *text and *ids that the calls below return with inlay_free. A text has a zero byte after its end. */
INLAY_API void inlay_free(void *memory);

/* Text to token ids and back with the bundle's tokenizer; INLAY_FAILED_PRECONDITION if it has none. */
INLAY_API inlay_status inlay_tokenize(const inlay_engine *engine, const char *text, size_t text_size,
                                      int32_t add_special_tokens, int32_t **ids, size_t *id_count);
INLAY_API inlay_status inlay_detokenize(const inlay_engine *engine, const int32_t *ids, size_t id_count, char **text,
                                        size_t *text_size);

/* Like inlay_detokenize, but special tokens are part of the text if `skip_special_tokens` is 0. Since 1.3. */
INLAY_API inlay_status inlay_decode(inlay_engine *engine, const int32_t *ids, size_t id_count,
                                    int32_t skip_special_tokens, char **text, size_t *text_size);

/* Renders a conversation with the bundle's chat template. `conversation_json` is an object with these fields: messages,
 * tools, chat_template_kwargs, documents, reasoning_effort, add_generation_prompt, continue_final_message. They mean
 * the same as in serve-model's /v1/chat/completions and /tokenize. INLAY_INVALID_ARGUMENT names the field that is
 * wrong; INLAY_FAILED_PRECONDITION: the bundle has no chat template. The template writes special tokens itself: submit
 * the text with add_special_tokens = 0. Since 1.3. */
INLAY_API inlay_status inlay_render_chat(const inlay_engine *engine, const char *conversation_json, size_t json_size,
                                         char **text, size_t *text_size);

/* Like inlay_render_chat with separate arguments. `messages_json` is a list of messages as in OpenAI's API.
 * `variables_json` is an object with other template variables (tools, enable_thinking), or NULL. */
INLAY_API inlay_status inlay_apply_chat_template(const inlay_engine *engine, const char *messages_json,
                                                 const char *variables_json, int32_t add_generation_prompt, char **text,
                                                 size_t *text_size);

/* ---- Requests ---------------------------------------------------------------------------------------------------- */

typedef struct inlay_logit_bias {
  int32_t id;
  float bias; /* added to the token's logit, in [-100, 100] */
} inlay_logit_bias;

/* Sampling parameters. Names and defaults are those of vLLM. */
typedef struct inlay_sampling_params {
  size_t struct_size;
  int32_t n;                /* 1: sequences to return; `index` of a piece says which one */
  int32_t best_of;          /* generate this many and return the n most likely; 0: n */
  float temperature;        /* 1; 0 is greedy */
  int32_t top_k;            /* 0 is off */
  float top_p;              /* in (0, 1]; 1 is off */
  float min_p;              /* in [0, 1]; 0 is off */
  float repetition_penalty; /* above 0; 1 is off */
  float presence_penalty;   /* in [-2, 2] */
  float frequency_penalty;  /* in [-2, 2] */
  int32_t has_seed;         /* not 0: `seed` is used; the same seed gives the same tokens, for any other load */
  uint32_t seed;
  int32_t max_tokens; /* 16; a sequence ends at max_model_len tokens even if this is larger */
  int32_t min_tokens; /* no end token, stop string or stop token before this many */
  int32_t ignore_eos; /* not 0: continue after an end token */
  /* Log-probabilities are computed from the model's logits, before logit_bias, penalties, masks and temperature (vLLM's
   * raw_logprobs). */
  int32_t logprobs;        /* this many most likely tokens with each token; -1: none */
  int32_t prompt_logprobs; /* the same for each token of the prompt; -1: none */
  const int32_t *stop_token_ids;
  size_t stop_token_id_count;
  const char *const *stop; /* the text ends before the first of these */
  size_t stop_count;
  const inlay_logit_bias *logit_bias;
  size_t logit_bias_count;
  /* Guided decoding: a constraint on the text. At most one of these is not NULL. */
  const char *guided_json;    /* a JSON Schema; "{}" is any JSON */
  const char *guided_regex;   /* the whole text matches this regular expression */
  const char *guided_grammar; /* EBNF with a rule `root` */
  const char *const *guided_choice;
  size_t guided_choice_count;
  /* Since 1.3: */
  int32_t include_stop_str_in_output; /* not 0: the text ends after the stop string or with the stop token's text */
  int32_t skip_special_tokens;        /* 1; 0: special tokens are part of the text */
  const int32_t *allowed_token_ids;   /* only these are generated; none: all */
  size_t allowed_token_id_count;
  const char *const *bad_words; /* texts that are not generated, at the beginning of a text or after a space */
  size_t bad_word_count;
} inlay_sampling_params;

INLAY_API inlay_status inlay_sampling_params_init(inlay_sampling_params *params, size_t struct_size,
                                                  int32_t program_version);

/* Sets the fields of initialised params to the defaults of the checkpoint (generation_config.json). */
INLAY_API inlay_status inlay_engine_default_sampling(const inlay_engine *engine, inlay_sampling_params *params);

/* A request. Either a text or token ids are given. */
typedef struct inlay_request_params {
  size_t struct_size;
  const char *prompt;
  size_t prompt_size;
  const int32_t *prompt_token_ids;
  size_t prompt_token_id_count;
  int32_t add_special_tokens;            /* 1 */
  const inlay_sampling_params *sampling; /* NULL: the defaults */
  int32_t priority;                      /* lower runs earlier; 0 unless scheduling_policy is "priority" */
  int32_t enable_prefix_caching;         /* 1; 0: neither uses nor fills the prefix cache */
  const char *cache_salt;                /* only requests with the same salt share prefixes; NULL: "" */
  double deadline_seconds;               /* fails with INLAY_DEADLINE_EXCEEDED this long after submitting; 0: never */
  /* Called by a thread of the engine when tokens or the end are available. It must return at once and must not call any
   * function of this interface except inlay_queue_push. It is not called after inlay_request_free has returned. May be
   * NULL; inlay_request_report is easier to use. */
  void (*on_progress)(void *user_data);
  void *user_data;
} inlay_request_params;

INLAY_API inlay_status inlay_request_params_init(inlay_request_params *params, size_t struct_size,
                                                 int32_t program_version);

/* A running request. Freeing it cancels it. */
typedef struct inlay_request inlay_request;

/* Checks a request and queues it; does not wait. *request is NULL on failure. */
INLAY_API inlay_status inlay_submit(inlay_engine *engine, const inlay_request_params *params, inlay_request **request);
INLAY_API void inlay_request_free(inlay_request *request);
INLAY_API void inlay_request_cancel(inlay_request *request);

typedef struct inlay_token_logprob {
  int32_t id;
  float logprob; /* natural logarithm */
} inlay_token_logprob;

/* One generated token. Its pointers are valid until the next call of inlay_request_next or inlay_request_free with the
 * same request. */
typedef struct inlay_piece {
  size_t struct_size;
  int32_t index; /* of the sequence, in [0, n) */
  int32_t token_id;
  float logprob;    /* if log-probabilities were requested */
  const char *text; /* text completed by this token; may be empty inside a character; a zero byte follows it */
  size_t text_size;
  const inlay_token_logprob *top; /* the most likely tokens, if requested */
  size_t top_count;
  int32_t rank; /* 1: no token is likelier; 0: log-probabilities were not requested. Since 1.3 */
} inlay_piece;

/* Waits for the next token: INLAY_OK with a piece, INLAY_END after the last one, INLAY_TIMEOUT if none came
 * in `timeout_seconds` (negative: no timeout), and the error that ended the request otherwise. The caller
 * sets piece->struct_size to sizeof(inlay_piece). One thread at a time for one request. */
INLAY_API inlay_status inlay_request_next(inlay_request *request, double timeout_seconds, inlay_piece *piece);

typedef int32_t inlay_finish_reason;
enum {
  INLAY_FINISH_NONE = 0, /* not finished */
  INLAY_FINISH_STOP = 1, /* an end token, a stop string or a stop token */
  INLAY_FINISH_LENGTH = 2,
  INLAY_FINISH_CANCELLED = 3,
  INLAY_FINISH_ERROR = 4
};
/* The finish reason of the request's sequence `index`, in [0, n). */
INLAY_API inlay_finish_reason inlay_request_finish_reason(const inlay_request *request, int32_t index);

/* What ended the sequence `index` with INLAY_FINISH_STOP. A stop string: *text, which lives as long as the request. A
 * token of stop_token_ids, or an end token of the checkpoint other than the tokenizer's own: *token_id. Else *text is
 * NULL and *token_id is -1. One thread at a time for one request. Since 1.3. */
INLAY_API inlay_status inlay_request_stop_reason(inlay_request *request, int32_t index, int32_t *token_id,
                                                 const char **text);

/* The prompt's token ids, which live as long as the request. */
INLAY_API const int32_t *inlay_request_prompt_token_ids(const inlay_request *request, size_t *count);

/* Log-probabilities at token `position` of the prompt, in [1, its tokens), if prompt_logprobs was set and the
 * first token was returned. *top lives as long as the request. One thread at a time for one request. */
INLAY_API inlay_status inlay_request_prompt_logprob(inlay_request *request, size_t position, inlay_token_logprob *token,
                                                    const inlay_token_logprob **top, size_t *top_count);

/* The rank of token `position` of the prompt among all tokens (1: no token is likelier), under the same conditions.
 * Since 1.3. */
INLAY_API inlay_status inlay_request_prompt_rank(inlay_request *request, size_t position, int32_t *rank);

/* Times in seconds since the request was submitted; below 0 for events that have not happened. */
typedef struct inlay_request_stats {
  size_t struct_size;
  double scheduled_seconds; /* the first step began */
  double first_token_seconds;
  double finished_seconds;
  int32_t cached_prompt_tokens; /* tokens of the prompt that were found in the prefix cache */
} inlay_request_stats;

/* The caller sets stats->struct_size. */
INLAY_API inlay_status inlay_request_get_stats(const inlay_request *request, inlay_request_stats *stats);

/* ---- Many requests, one thread ------------------------------------------------------------------------------------
 */

/* A queue of the tags of requests that have results, so that one thread can serve many requests: it waits for tags and
 * calls inlay_request_next with a timeout of 0 for each request until INLAY_TIMEOUT or the end. */
typedef struct inlay_queue inlay_queue;

INLAY_API inlay_status inlay_queue_create(inlay_queue **queue);
/* Requests that report to the queue may still be running. No thread may be waiting for the queue. */
INLAY_API void inlay_queue_free(inlay_queue *queue);

/* Puts `tag` into the queue now, and then whenever the request has new tokens or has ended. A tag that is already in
 * the queue is not added again. */
INLAY_API inlay_status inlay_request_report(inlay_request *request, inlay_queue *queue, uint64_t tag);

/* Puts a tag that belongs to no request into the queue, for example to stop the waiting thread. */
INLAY_API inlay_status inlay_queue_push(inlay_queue *queue, uint64_t tag);

/* Waits until there are tags and takes up to `capacity` of them; INLAY_TIMEOUT if none came in
 * `timeout_seconds` (negative: no timeout). */
INLAY_API inlay_status inlay_queue_wait(inlay_queue *queue, double timeout_seconds, uint64_t *tags, size_t capacity,
                                        size_t *count);

#ifdef __cplusplus
}
#endif

#endif /* INLAY_H */
