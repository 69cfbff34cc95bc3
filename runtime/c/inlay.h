/* Runs a compiled language model inside a program, in C or through a foreign function interface.
 *
 *     inlay_engine_options options;
 *     inlay_engine *engine;
 *     if (inlay_engine_options_init(&options, sizeof options, INLAY_ABI_VERSION) != INLAY_OK ||
 *         inlay_engine_load("llama.inlay", &options, &engine) != INLAY_OK)
 *       die(inlay_last_error());
 *
 * - Handles are opaque. What a call makes is released by the call of the same name with _free; NULL may be freed.
 * - A call that can fail returns an inlay_status, and inlay_last_error() says in a line what was found, what was
 *   expected and what to do.
 * - Structures that the program fills in begin with struct_size and are set to their defaults by a call that ends in
 *   _init, which takes sizeof as the program was compiled. Later versions append fields: a program keeps running with a
 *   library that knows more of them.
 * - Texts are UTF-8. Those with a size may hold zero bytes; those without end at the first.
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

/* Of this header: major * 1000 + minor. A program runs with a library of the same major and the same or a later minor
 * version: minor versions only add. */
#define INLAY_ABI_VERSION 1003

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
  INLAY_INVALID_ARGUMENT = 3,    /* wrong whatever the engine's state */
  INLAY_DEADLINE_EXCEEDED = 4,   /* a request's deadline or that of a shutdown has passed */
  INLAY_NOT_FOUND = 5,           /* a file or directory */
  INLAY_RESOURCE_EXHAUSTED = 8,  /* memory, pages or places in the queue */
  INLAY_FAILED_PRECONDITION = 9, /* the bundle or engine cannot do this: no tokenizer, wrong version */
  INLAY_UNIMPLEMENTED = 12,
  INLAY_INTERNAL = 13, /* a fault of Inlay's */
  INLAY_UNAVAILABLE = 14,
  INLAY_DATA_LOSS = 15, /* a bundle's file is not what its hash says */
  /* No errors: */
  INLAY_END = 100,    /* the request has given its last token */
  INLAY_TIMEOUT = 101 /* nothing came in the time given to this call, which may be repeated */
};

/* "INVALID_ARGUMENT", for logs. */
INLAY_API const char *inlay_status_name(inlay_status status);

/* What the last failed call of this thread found; "" if none failed. Kept for each thread and not for each handle, so
 * that what another thread does with the same handle cannot replace it. Valid until this thread's next failing call. */
INLAY_API const char *inlay_last_error(void);

/* Whether a program compiled with `program_version` (its INLAY_ABI_VERSION) can use this library;
 * INLAY_FAILED_PRECONDITION says which of the two to update. The calls that end in _init make the same check. */
INLAY_API inlay_status inlay_check_abi(int32_t program_version);

/* ---- Engine ------------------------------------------------------------------------------------------------------ */

typedef struct inlay_engine inlay_engine;

typedef struct inlay_engine_options {
  size_t struct_size;
  const char *target;             /* "cpu", "sm_90a"; NULL: a GPU's if there is one that fits, else cpu */
  int32_t threads;                /* of the host; 0: one a core */
  int32_t enforce_eager;          /* not 0: no CUDA graphs */
  double gpu_memory_utilization;  /* in (0, 1]: share of the GPU's memory for weights, workspace and KV pages */
  uint64_t kv_cache_bytes;        /* of the KV pages; 0: what memory allows */
  int32_t max_model_len;          /* tokens of a sequence, at most the bundle's bound; 0: that */
  int32_t max_num_seqs;           /* sequences in one step, likewise */
  int32_t max_num_batched_tokens; /* tokens in one step, likewise */
  int32_t max_waiting;            /* requests that may wait, beyond them INLAY_RESOURCE_EXHAUSTED; 0: no limit */
  int32_t enable_prefix_caching;  /* 1: prompts with a common beginning share its keys and values */
  int32_t deterministic;          /* not 0: the same bits whatever runs beside a request; on the cpu always so */
  int32_t async_scheduling;       /* the next step is planned while one runs: 1 yes, 0 no, -1 on a GPU */
  int32_t num_speculative_tokens; /* guessed from a sequence's own text and verified in one step; 0: none */
  const char *scheduling_policy;  /* "fcfs" (NULL) or "priority" */
  const char *preemption_mode;    /* "recompute" (NULL) or "swap": pages are brought to the host's memory and back */
  uint64_t swap_space_bytes;      /* of the host's memory, for "swap" */
  double watchdog_seconds;        /* a step that takes longer fails all requests; 0: no limit */
  const char *trace_path;         /* a Chrome trace of the scheduler is written here; NULL: none */
  const char *speculative_model;  /* bundle of a smaller model that guesses those tokens; NULL: none. Since 1.1 */
  const char *weights_source;     /* of a bundle with linked weights: where a copy of the checkpoint is; NULL: where
                                     it was. Since 1.2 */
} inlay_engine_options;

INLAY_API inlay_status inlay_engine_options_init(inlay_engine_options *options, size_t struct_size,
                                                 int32_t program_version);

/* What a bundle needs and what then fits, found without allocating any of it. */
typedef struct inlay_memory_plan {
  size_t struct_size;
  uint64_t free_bytes;   /* of the device now */
  uint64_t usable_bytes; /* of them, by gpu_memory_utilization */
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
  uint64_t draft_bytes;          /* all that a speculative model takes, its KV pages too. Since 1.2 */
} inlay_memory_plan;

/* The caller sets plan->struct_size. *explanation says for people what limits it and which option changes that; it is
 * released with inlay_free. `explanation` may be NULL. */
INLAY_API inlay_status inlay_engine_plan(const char *bundle, const inlay_engine_options *options,
                                         inlay_memory_plan *plan, char **explanation);

/* Opens a bundle, verifies it and brings its weights to the device. *engine is NULL on failure. */
INLAY_API inlay_status inlay_engine_load(const char *bundle, const inlay_engine_options *options,
                                         inlay_engine **engine);

/* Takes no more requests and waits for those that it has; those that are left after `timeout_seconds` are cancelled,
 * which INLAY_DEADLINE_EXCEEDED tells. */
INLAY_API inlay_status inlay_engine_shutdown(inlay_engine *engine, double timeout_seconds);

/* INLAY_OK, or why nothing runs any more. */
INLAY_API inlay_status inlay_engine_health(const inlay_engine *engine);

/* Ends what runs and waits for it. Requests may be freed before or after: those that are left end with INLAY_CANCELLED.
 * No other call with this engine may be under way. */
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
  int32_t free_pages;   /* those that only the prefix cache has included */
  int32_t cached_pages; /* of the free ones */
  int64_t steps;
  int64_t prompt_tokens;
  int64_t generation_tokens;
  int64_t preemptions;
  int64_t draft_tokens;          /* guessed */
  int64_t accepted_draft_tokens; /* and found right */
  int64_t prefix_cache_queries;  /* tokens of prompts looked for in the cache */
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

/* What the calls below return in *text and *ids is released with inlay_free. A text has a zero byte after its end. */
INLAY_API void inlay_free(void *memory);

/* Text to token ids and back with the bundle's tokenizer; INLAY_FAILED_PRECONDITION if it has none. */
INLAY_API inlay_status inlay_tokenize(const inlay_engine *engine, const char *text, size_t text_size,
                                      int32_t add_special_tokens, int32_t **ids, size_t *id_count);
INLAY_API inlay_status inlay_detokenize(const inlay_engine *engine, const int32_t *ids, size_t id_count, char **text,
                                        size_t *text_size);

/* The same with the special tokens in the text, unless `skip_special_tokens` is not 0 (as inlay_detokenize has it).
 * Since 1.3. */
INLAY_API inlay_status inlay_decode(inlay_engine *engine, const int32_t *ids, size_t id_count,
                                    int32_t skip_special_tokens, char **text, size_t *text_size);

/* A conversation as the prompt that the model was trained on. `conversation_json` is an object of these fields, which
 * are read and checked by the code that reads them for serve-model's /v1/chat/completions and /tokenize:
 * messages, tools, chat_template_kwargs, documents, reasoning_effort, add_generation_prompt, continue_final_message.
 * INLAY_INVALID_ARGUMENT names the field that is wrong; INLAY_FAILED_PRECONDITION: the bundle has no chat template. The
 * template writes special tokens itself: submit the text with add_special_tokens = 0. Since 1.3. */
INLAY_API inlay_status inlay_render_chat(const inlay_engine *engine, const char *conversation_json, size_t json_size,
                                         char **text, size_t *text_size);

/* The same of the messages, a list of objects as OpenAI's API takes them. variables_json is an object with what else
 * the template may name (tools, enable_thinking), or NULL. */
INLAY_API inlay_status inlay_apply_chat_template(const inlay_engine *engine, const char *messages_json,
                                                 const char *variables_json, int32_t add_generation_prompt, char **text,
                                                 size_t *text_size);

/* ---- Requests ---------------------------------------------------------------------------------------------------- */

typedef struct inlay_logit_bias {
  int32_t id;
  float bias; /* added to the token's logit, in [-100, 100] */
} inlay_logit_bias;

/* How tokens are chosen. Names and defaults are those of vLLM. */
typedef struct inlay_sampling_params {
  size_t struct_size;
  int32_t n;                /* 1: sequences to return; pieces name theirs by `index` */
  int32_t best_of;          /* of so many sequences the n likeliest are returned; 0: n */
  float temperature;        /* 1; 0 is greedy */
  int32_t top_k;            /* 0 is off */
  float top_p;              /* in (0, 1]; 1 is off */
  float min_p;              /* in [0, 1]; 0 is off */
  float repetition_penalty; /* above 0; 1 is off */
  float presence_penalty;   /* in [-2, 2] */
  float frequency_penalty;  /* in [-2, 2] */
  int32_t has_seed;         /* not 0: `seed` counts, and the same seed gives the same tokens, whatever else runs */
  uint32_t seed;
  int32_t max_tokens; /* 16; a sequence ends at max_model_len tokens even if this is larger */
  int32_t min_tokens; /* no end of the sequence, stop string or stop token before so many */
  int32_t ignore_eos; /* not 0: go on after the end of the sequence */
  /* Of the model's own logits, before logit_bias, penalties, masks and temperature (vLLM's raw_logprobs). */
  int32_t logprobs;        /* this many most likely tokens with each token; -1: none */
  int32_t prompt_logprobs; /* the same for each token of the prompt; -1: none */
  const int32_t *stop_token_ids;
  size_t stop_token_id_count;
  const char *const *stop; /* ends before the first of these in the text */
  size_t stop_count;
  const inlay_logit_bias *logit_bias;
  size_t logit_bias_count;
  /* A form that the text must take; at most one of these is not NULL. */
  const char *guided_json;    /* a JSON Schema; "{}" is any JSON */
  const char *guided_regex;   /* a regular expression for all of the text */
  const char *guided_grammar; /* EBNF with a rule `root` */
  const char *const *guided_choice;
  size_t guided_choice_count;
  /* Since 1.3: */
  int32_t include_stop_str_in_output; /* not 0: the text ends after the stop string or with the stop token's text */
  int32_t skip_special_tokens;        /* 1; 0: special tokens are part of the text */
  const int32_t *allowed_token_ids;   /* no other token is generated; none: all are allowed */
  size_t allowed_token_id_count;
  const char *const *bad_words; /* texts that are not generated, at the beginning of a text or after a space */
  size_t bad_word_count;
} inlay_sampling_params;

INLAY_API inlay_status inlay_sampling_params_init(inlay_sampling_params *params, size_t struct_size,
                                                  int32_t program_version);

/* Puts what the checkpoint recommends (generation_config.json) into params that were initialised. */
INLAY_API inlay_status inlay_engine_default_sampling(const inlay_engine *engine, inlay_sampling_params *params);

/* One thing to generate. Either a text or token ids are given. */
typedef struct inlay_request_params {
  size_t struct_size;
  const char *prompt;
  size_t prompt_size;
  const int32_t *prompt_token_ids;
  size_t prompt_token_id_count;
  int32_t add_special_tokens;            /* 1 */
  const inlay_sampling_params *sampling; /* NULL: the defaults */
  int32_t priority;                      /* lower runs earlier; 0 unless scheduling_policy is "priority" */
  int32_t enable_prefix_caching;         /* 1; 0: neither uses what others computed nor leaves it to them */
  const char *cache_salt;                /* only requests of the same salt share prefixes; NULL: "" */
  double deadline_seconds;               /* ends with INLAY_DEADLINE_EXCEEDED so long after submitting; 0: never */
  /* Called after tokens or the end were handed out, by a thread of the engine: it must return at once and make no call
   * of this interface but inlay_queue_push. It is not called after inlay_request_free has returned. May be NULL;
   * inlay_request_report is the easier way. */
  void (*on_progress)(void *user_data);
  void *user_data;
} inlay_request_params;

INLAY_API inlay_status inlay_request_params_init(inlay_request_params *params, size_t struct_size,
                                                 int32_t program_version);

/* A request on its way. Freeing it cancels it. */
typedef struct inlay_request inlay_request;

/* Checks a request and queues it; does not wait. *request is NULL on failure. */
INLAY_API inlay_status inlay_submit(inlay_engine *engine, const inlay_request_params *params, inlay_request **request);
INLAY_API void inlay_request_free(inlay_request *request);
INLAY_API void inlay_request_cancel(inlay_request *request);

typedef struct inlay_token_logprob {
  int32_t id;
  float logprob; /* natural logarithm */
} inlay_token_logprob;

/* One generated token. What it points to is valid until the next call of inlay_request_next or inlay_request_free with
 * the same request. */
typedef struct inlay_piece {
  size_t struct_size;
  int32_t index; /* of the sequence, in [0, n) */
  int32_t token_id;
  float logprob;    /* if logprobs were asked for */
  const char *text; /* what the token completes, may be empty in the middle of a character; a zero byte follows it */
  size_t text_size;
  const inlay_token_logprob *top; /* the most likely tokens, if asked for */
  size_t top_count;
  int32_t rank; /* if logprobs were asked for; 1: no token is likelier; else 0. Since 1.3 */
} inlay_piece;

/* Waits for the next token: INLAY_OK with a piece, INLAY_END after the last one, INLAY_TIMEOUT if none came
 * in `timeout_seconds` (negative: wait as long as it takes), and the error that ended the request otherwise. The caller
 * sets piece->struct_size to sizeof(inlay_piece). One thread at a time for one request. */
INLAY_API inlay_status inlay_request_next(inlay_request *request, double timeout_seconds, inlay_piece *piece);

typedef int32_t inlay_finish_reason;
enum {
  INLAY_FINISH_NONE = 0, /* not finished */
  INLAY_FINISH_STOP = 1, /* the end of the sequence, a stop string or a stop token */
  INLAY_FINISH_LENGTH = 2,
  INLAY_FINISH_CANCELLED = 3,
  INLAY_FINISH_ERROR = 4
};
/* Of the request's sequence `index`, in [0, n). */
INLAY_API inlay_finish_reason inlay_request_finish_reason(const inlay_request *request, int32_t index);

/* What ended the sequence `index` with INLAY_FINISH_STOP. A stop string: *text, which lives as long as the request. A
 * token of stop_token_ids, or an end token of the checkpoint other than the tokenizer's own: *token_id. Else *text is
 * NULL and *token_id is -1. One thread at a time for one request. Since 1.3. */
INLAY_API inlay_status inlay_request_stop_reason(inlay_request *request, int32_t index, int32_t *token_id,
                                                 const char **text);

/* The prompt's token ids, which live as long as the request. */
INLAY_API const int32_t *inlay_request_prompt_token_ids(const inlay_request *request, size_t *count);

/* What the model made of token `position` of the prompt, in [1, its tokens), if prompt_logprobs were asked for and the
 * first token was handed out. *top lives as long as the request. One thread at a time for one request. */
INLAY_API inlay_status inlay_request_prompt_logprob(inlay_request *request, size_t position, inlay_token_logprob *token,
                                                    const inlay_token_logprob **top, size_t *top_count);

/* The rank of token `position` of the prompt among all tokens (1: no token is likelier), under the same conditions.
 * Since 1.3. */
INLAY_API inlay_status inlay_request_prompt_rank(inlay_request *request, size_t position, int32_t *rank);

/* Seconds from submitting; below 0 for what has not happened. */
typedef struct inlay_request_stats {
  size_t struct_size;
  double scheduled_seconds; /* the first step began */
  double first_token_seconds;
  double finished_seconds;
  int32_t cached_prompt_tokens; /* whose keys and values were found in the prefix cache */
} inlay_request_stats;

/* The caller sets stats->struct_size. */
INLAY_API inlay_status inlay_request_get_stats(const inlay_request *request, inlay_request_stats *stats);

/* ---- Many requests, one thread ------------------------------------------------------------------------------------
 */

/* Where requests say that they have something to give, so that one thread can serve all of them: it waits for tags, and
 * calls inlay_request_next with a timeout of 0 for their requests until INLAY_TIMEOUT or the end. */
typedef struct inlay_queue inlay_queue;

INLAY_API inlay_status inlay_queue_create(inlay_queue **queue);
/* Requests that report to it may go on. No thread may be waiting. */
INLAY_API void inlay_queue_free(inlay_queue *queue);

/* From now on `tag` is put into the queue whenever the request has tokens or its end to give, and once now. A tag that
 * is in the queue is not put there again. */
INLAY_API inlay_status inlay_request_report(inlay_request *request, inlay_queue *queue, uint64_t tag);

/* Puts a tag of the program's own into the queue, such as one that ends the thread. */
INLAY_API inlay_status inlay_queue_push(inlay_queue *queue, uint64_t tag);

/* Waits until there are tags and takes up to `capacity` of them; INLAY_TIMEOUT if none came in
 * `timeout_seconds` (negative: wait as long as it takes). */
INLAY_API inlay_status inlay_queue_wait(inlay_queue *queue, double timeout_seconds, uint64_t *tags, size_t capacity,
                                        size_t *count);

#ifdef __cplusplus
}
#endif

#endif /* INLAY_H */
