/* The C interface as a C99 program uses it: versions, wrong arguments, generating, cancelling, lifetimes.
 * c_api_test BUNDLE */
#include "inlay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;

#define EXPECT(condition)                                                                                              \
  ((condition) ? (void)0                                                                                               \
               : (void)(++failures, fprintf(stderr, "%s:%d: expected %s; last error: %s\n", __FILE__, __LINE__,        \
                                            #condition, inlay_last_error())))
/* Checks that a call fails with this code and that its message contains this text. */
#define EXPECT_ERROR(call, code, part) (EXPECT((call) == (code)), EXPECT(strstr(inlay_last_error(), (part)) != NULL))

static inlay_engine *load(const char *bundle) {
  inlay_engine_options options;
  inlay_engine *engine = NULL;
  EXPECT(inlay_engine_options_init(&options, sizeof options, INLAY_ABI_VERSION) == INLAY_OK);
  options.target = "cpu";
  options.threads = 2;
  EXPECT(inlay_engine_load(bundle, &options, &engine) == INLAY_OK);
  if (!engine)
    exit(1);
  return engine;
}

static void greedy(inlay_sampling_params *sampling, int32_t max_tokens) {
  EXPECT(inlay_sampling_params_init(sampling, sizeof *sampling, INLAY_ABI_VERSION) == INLAY_OK);
  sampling->temperature = 0;
  sampling->ignore_eos = 1;
  sampling->max_tokens = max_tokens;
}

static inlay_request *submit(inlay_engine *engine, const char *prompt, const inlay_sampling_params *sampling) {
  inlay_request_params params;
  inlay_request *request = NULL;
  EXPECT(inlay_request_params_init(&params, sizeof params, INLAY_ABI_VERSION) == INLAY_OK);
  params.prompt = prompt;
  params.prompt_size = strlen(prompt);
  params.sampling = sampling;
  EXPECT(inlay_submit(engine, &params, &request) == INLAY_OK);
  if (!request)
    exit(1);
  return request;
}

/* Reads the request's text, at most `size` bytes, and returns the number of its tokens. */
static int collect(inlay_request *request, char *text, size_t size) {
  int count = 0;
  inlay_status status;
  inlay_piece piece;
  piece.struct_size = sizeof piece;
  text[0] = 0;
  while ((status = inlay_request_next(request, -1, &piece)) == INLAY_OK) {
    EXPECT(piece.text[piece.text_size] == 0);
    strncat(text, piece.text, size - strlen(text) - 1);
    ++count;
  }
  EXPECT(status == INLAY_END);
  return count;
}

static void test_versions(void) {
  inlay_engine_options options;
  EXPECT(inlay_abi_version() == INLAY_ABI_VERSION);
  EXPECT(strstr(inlay_version(), "0.1.0") == inlay_version());
  EXPECT(strcmp(inlay_status_name(INLAY_NOT_FOUND), "NOT_FOUND") == 0);
  EXPECT(inlay_check_abi(INLAY_ABI_VERSION) == INLAY_OK);
  EXPECT_ERROR(inlay_check_abi(INLAY_ABI_VERSION + 1), INLAY_FAILED_PRECONDITION, "update libinlay.so");
  EXPECT_ERROR(inlay_check_abi(INLAY_ABI_VERSION - 1000), INLAY_FAILED_PRECONDITION, "compile the program with");
  EXPECT_ERROR(inlay_engine_options_init(&options, sizeof options, INLAY_ABI_VERSION + 1000), INLAY_FAILED_PRECONDITION,
               "compiled for version 2.");
  EXPECT_ERROR(inlay_engine_options_init(&options, sizeof options + 8, INLAY_ABI_VERSION), INLAY_INVALID_ARGUMENT,
               "update libinlay.so");
  EXPECT_ERROR(inlay_engine_options_init(&options, 4, INLAY_ABI_VERSION), INLAY_INVALID_ARGUMENT, "struct_size is 4");
}

static void test_wrong_arguments(const char *bundle) {
  inlay_engine_options options;
  inlay_engine *engine = (inlay_engine *)&options;
  inlay_request *request = (inlay_request *)&options;
  inlay_request_params params;
  inlay_sampling_params sampling;
  inlay_piece piece;
  inlay_stats stats;
  int32_t *ids;
  char *text;
  size_t size;
  EXPECT(inlay_engine_options_init(&options, sizeof options, INLAY_ABI_VERSION) == INLAY_OK);
  EXPECT_ERROR(inlay_engine_options_init(NULL, sizeof options, INLAY_ABI_VERSION), INLAY_INVALID_ARGUMENT, "is NULL");
  EXPECT_ERROR(inlay_engine_load(bundle, &options, NULL), INLAY_INVALID_ARGUMENT, "engine is NULL");
  EXPECT_ERROR(inlay_engine_load(NULL, &options, &engine), INLAY_INVALID_ARGUMENT, "bundle is NULL");
  EXPECT(engine == NULL);
  EXPECT_ERROR(inlay_engine_load(bundle, NULL, &engine), INLAY_INVALID_ARGUMENT, "inlay_engine_options is NULL");
  EXPECT_ERROR(inlay_engine_load("/nowhere/model.inlay", &options, &engine), INLAY_NOT_FOUND, "/nowhere/model.inlay");
  options.max_num_seqs = 1 << 30;
  EXPECT_ERROR(inlay_engine_load(bundle, &options, &engine), INLAY_INVALID_ARGUMENT, "--max-num-seqs is 1073741824");
  options.struct_size = 0;
  EXPECT_ERROR(inlay_engine_load(bundle, &options, &engine), INLAY_INVALID_ARGUMENT, "struct_size is 0");

  engine = load(bundle);
  greedy(&sampling, 4);
  EXPECT(inlay_request_params_init(&params, sizeof params, INLAY_ABI_VERSION) == INLAY_OK);
  params.sampling = &sampling;
  EXPECT_ERROR(inlay_submit(NULL, &params, &request), INLAY_INVALID_ARGUMENT, "engine is NULL");
  EXPECT(request == NULL);
  EXPECT_ERROR(inlay_submit(engine, NULL, &request), INLAY_INVALID_ARGUMENT, "inlay_request_params is NULL");
  EXPECT_ERROR(inlay_submit(engine, &params, &request), INLAY_INVALID_ARGUMENT, "the prompt is empty");
  params.prompt_size = 3;
  EXPECT_ERROR(inlay_submit(engine, &params, &request), INLAY_INVALID_ARGUMENT, "prompt is NULL");
  params.prompt = "def";
  sampling.stop_count = 1;
  EXPECT_ERROR(inlay_submit(engine, &params, &request), INLAY_INVALID_ARGUMENT, "stop is NULL");
  sampling.stop_count = 0;
  sampling.guided_json = "{";
  EXPECT_ERROR(inlay_submit(engine, &params, &request), INLAY_INVALID_ARGUMENT, "json schema: ");
  sampling.guided_json = "";
  EXPECT_ERROR(inlay_submit(engine, &params, &request), INLAY_INVALID_ARGUMENT, "guided_json is empty");
  sampling.guided_json = NULL;
  sampling.top_p = 0;
  EXPECT_ERROR(inlay_submit(engine, &params, &request), INLAY_INVALID_ARGUMENT, "top_p");
  sampling.struct_size = 3;
  EXPECT_ERROR(inlay_submit(engine, &params, &request), INLAY_INVALID_ARGUMENT, "inlay_sampling_params: struct_size");
  EXPECT(request == NULL);

  stats.struct_size = 1 << 20;
  EXPECT_ERROR(inlay_engine_stats(engine, &stats), INLAY_INVALID_ARGUMENT, "inlay_stats: struct_size");
  EXPECT_ERROR(inlay_engine_stats(NULL, &stats), INLAY_INVALID_ARGUMENT, "engine is NULL");
  EXPECT_ERROR(inlay_tokenize(engine, NULL, 1, 1, &ids, &size), INLAY_INVALID_ARGUMENT, "text is NULL");
  EXPECT_ERROR(inlay_detokenize(engine, NULL, 1, &text, &size), INLAY_INVALID_ARGUMENT, "ids is NULL");
  piece.struct_size = sizeof piece;
  EXPECT_ERROR(inlay_request_next(NULL, -1, &piece), INLAY_INVALID_ARGUMENT, "request is NULL");
  EXPECT_ERROR(inlay_request_next((request = submit(engine, "def", NULL)), -1, NULL), INLAY_INVALID_ARGUMENT,
               "inlay_piece is NULL");
  inlay_request_free(request);
  inlay_request_free(NULL);
  inlay_request_cancel(NULL);
  inlay_free(NULL);
  EXPECT(inlay_request_finish_reason(NULL, 0) == INLAY_FINISH_NONE);
  inlay_engine_free(engine);
  inlay_engine_free(NULL);
}

/* Conversations are checked before the chat template is used. This bundle has no template. */
static void test_conversations(inlay_engine *engine) {
  static const struct {
    const char *json, *part;
    inlay_status status;
  } kRows[] = {
      {"[]", "conversation_json: ", INLAY_INVALID_ARGUMENT},
      {"{}", "'messages' is missing", INLAY_INVALID_ARGUMENT},
      {"{\"messages\":\"Hi\"}", "expected a list of 1 to", INLAY_INVALID_ARGUMENT},
      {"{\"messages\":[]}", "expected a list of 1 to", INLAY_INVALID_ARGUMENT},
      {"{\"messages\":[{\"content\":\"Hi\"}]}", "'messages[0].role' is missing", INLAY_INVALID_ARGUMENT},
      {"{\"messages\":[{\"role\":\"user\",\"content\":\"\\ud800\"}]}", "surrogate", INLAY_INVALID_ARGUMENT},
      {"{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"top_q\":1}", "'top_q', which is not a field",
       INLAY_INVALID_ARGUMENT},
      {"{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}", "has no chat template", INLAY_FAILED_PRECONDITION},
  };
  const char *messages = "[{\"role\":\"user\",\"content\":\"Hi\"}]";
  char *text = NULL;
  size_t i, size = 0;
  for (i = 0; i < sizeof kRows / sizeof kRows[0]; ++i)
    EXPECT_ERROR(inlay_render_chat(engine, kRows[i].json, strlen(kRows[i].json), &text, &size), kRows[i].status,
                 kRows[i].part);
  EXPECT_ERROR(inlay_render_chat(engine, NULL, 1, &text, &size), INLAY_INVALID_ARGUMENT, "conversation_json is NULL");
  EXPECT_ERROR(inlay_apply_chat_template(engine, messages, NULL, 1, &text, &size), INLAY_FAILED_PRECONDITION,
               "has no chat template");
  EXPECT_ERROR(inlay_apply_chat_template(engine, "[", NULL, 1, &text, &size), INLAY_INVALID_ARGUMENT,
               "messages_json: ");
  EXPECT_ERROR(inlay_apply_chat_template(engine, messages, "[]", 1, &text, &size), INLAY_INVALID_ARGUMENT,
               "variables_json: ");
  EXPECT_ERROR(inlay_apply_chat_template(engine, messages, "{\"bos_token\":1}", 1, &text, &size),
               INLAY_INVALID_ARGUMENT, "'bos_token'");
}

static void test_text(inlay_engine *engine) {
  const char *given = "def main():";
  int32_t *ids = NULL;
  char *text = NULL;
  size_t count = 0, size = 0;
  EXPECT(inlay_tokenize(engine, given, strlen(given), 0, &ids, &count) == INLAY_OK && count > 1);
  EXPECT(inlay_detokenize(engine, ids, count, &text, &size) == INLAY_OK);
  EXPECT(size == strlen(given) && strcmp(text, given) == 0);
  inlay_free(ids);
  inlay_free(text);
  EXPECT(inlay_tokenize(engine, given, strlen(given), 1, &ids, &count) == INLAY_OK && count > 1);
  EXPECT(inlay_decode(engine, ids, count, 1, &text, &size) == INLAY_OK && strcmp(text, given) == 0);
  inlay_free(text);
  EXPECT(inlay_decode(engine, ids, count, 0, &text, &size) == INLAY_OK && strstr(text, given) != NULL);
  inlay_free(ids);
  inlay_free(text);
  EXPECT(inlay_tokenize(engine, NULL, 0, 0, &ids, &count) == INLAY_OK && count == 0);
  inlay_free(ids);
}

static void test_generate(inlay_engine *engine) {
  static char alone[4096], batched[4096], other[4096];
  inlay_sampling_params sampling;
  inlay_piece piece;
  inlay_request *first, *second;
  const char *reason;
  int32_t token;
  size_t count = 0;
  inlay_stats stats;
  greedy(&sampling, 40);
  first = submit(engine, "class Server:", &sampling);
  EXPECT(collect(first, alone, sizeof alone) == 40 && strlen(alone) > 40);
  EXPECT(inlay_request_finish_reason(first, 0) == INLAY_FINISH_LENGTH);
  EXPECT(inlay_request_prompt_token_ids(first, &count) != NULL && count > 1);
  inlay_request_free(first);

  first = submit(engine, "class Server:", &sampling);
  sampling.logprobs = 3;
  sampling.stop_count = 1;
  sampling.stop = (const char *const[]){"\n"};
  second = submit(engine, "import os", &sampling);
  piece.struct_size = sizeof piece;
  EXPECT(inlay_request_next(second, -1, &piece) == INLAY_OK);
  EXPECT(piece.top_count == 3 && piece.top[0].id == piece.token_id && piece.top[0].logprob == piece.logprob);
  EXPECT(piece.rank == 1);
  collect(second, other, sizeof other);
  EXPECT(inlay_request_finish_reason(second, 0) == INLAY_FINISH_STOP && strchr(other, '\n') == NULL);
  EXPECT(inlay_request_stop_reason(second, 0, &token, &reason) == INLAY_OK && token == -1 && reason != NULL &&
         strcmp(reason, "\n") == 0);
  collect(first, batched, sizeof batched);
  EXPECT(strcmp(alone, batched) == 0);
  inlay_request_free(first);
  inlay_request_free(second);

  greedy(&sampling, 8);
  sampling.allowed_token_ids = (const int32_t[]){40, 41};
  sampling.allowed_token_id_count = 2;
  sampling.stop_token_ids = (const int32_t[]){41};
  sampling.stop_token_id_count = 1;
  sampling.logit_bias = (const inlay_logit_bias[]){{41, 100}};
  sampling.logit_bias_count = 1;
  first = submit(engine, "x", &sampling);
  collect(first, other, sizeof other);
  EXPECT(inlay_request_stop_reason(first, 0, &token, &reason) == INLAY_OK && token == 41 && reason == NULL);
  inlay_request_free(first);

  greedy(&sampling, 40);
  sampling.ignore_eos = 0;
  sampling.guided_regex = "[0-9]{3}[a-c]";
  first = submit(engine, "x", &sampling);
  collect(first, other, sizeof other);
  EXPECT(strlen(other) == 4 && strspn(other, "0123456789") == 3 && strchr("abc", other[3]) != NULL);
  EXPECT(inlay_request_finish_reason(first, 0) == INLAY_FINISH_STOP);
  inlay_request_free(first);
  sampling.guided_regex = NULL;
  sampling.guided_choice = (const char *const[]){"left", "right"};
  sampling.guided_choice_count = 2;
  first = submit(engine, "x", &sampling);
  collect(first, other, sizeof other);
  EXPECT(strcmp(other, "left") == 0 || strcmp(other, "right") == 0);
  inlay_request_free(first);

  stats.struct_size = sizeof stats;
  EXPECT(inlay_engine_stats(engine, &stats) == INLAY_OK && stats.generation_tokens >= 80);
  EXPECT(strcmp(inlay_engine_target(engine), "cpu") == 0);
}

static void test_cancel_and_lifetimes(const char *bundle) {
  static char text[1 << 16];
  inlay_engine *engine = load(bundle);
  inlay_sampling_params sampling;
  inlay_request *cancelled, *dropped, *left;
  inlay_piece piece;
  greedy(&sampling, 900);
  piece.struct_size = sizeof piece;
  cancelled = submit(engine, "import os", &sampling);
  dropped = submit(engine, "import sys", &sampling);
  left = submit(engine, "class A", &sampling);
  EXPECT(inlay_request_next(cancelled, -1, &piece) == INLAY_OK);
  inlay_request_cancel(cancelled);
  EXPECT(collect(cancelled, text, sizeof text) < 899);
  EXPECT(inlay_request_finish_reason(cancelled, 0) == INLAY_FINISH_CANCELLED);
  inlay_request_free(dropped);
  inlay_engine_free(engine);
  while (inlay_request_next(left, -1, &piece) == INLAY_OK)
    ;
  EXPECT_ERROR(inlay_request_next(left, -1, &piece), INLAY_CANCELLED, "shut down");
  inlay_request_free(left);
  inlay_request_free(cancelled);
}

static void count_progress(void *user_data) { ++*(volatile int *)user_data; }

static void test_timeouts_and_deadlines(inlay_engine *engine) {
  inlay_sampling_params sampling;
  inlay_request_params params;
  inlay_request *request;
  inlay_request_stats stats;
  inlay_piece piece;
  volatile int calls = 0;
  int empty = 0, tokens = 0;
  inlay_status status;
  greedy(&sampling, 200);
  EXPECT(inlay_request_params_init(&params, sizeof params, INLAY_ABI_VERSION) == INLAY_OK);
  params.prompt = "import os";
  params.prompt_size = 9;
  params.sampling = &sampling;
  params.on_progress = count_progress;
  params.user_data = (void *)&calls;
  EXPECT(inlay_submit(engine, &params, &request) == INLAY_OK);
  piece.struct_size = sizeof piece;
  EXPECT_ERROR(inlay_request_next(request, 0.0 / 0.0, &piece), INLAY_INVALID_ARGUMENT, "NaN");
  while ((status = inlay_request_next(request, 0, &piece)) == INLAY_OK || status == INLAY_TIMEOUT)
    status == INLAY_OK ? ++tokens : ++empty;
  EXPECT(status == INLAY_END && tokens == 200 && empty > 0);
  stats.struct_size = sizeof stats;
  EXPECT(inlay_request_get_stats(request, &stats) == INLAY_OK);
  EXPECT(stats.scheduled_seconds >= 0 && stats.first_token_seconds >= stats.scheduled_seconds &&
         stats.finished_seconds > stats.first_token_seconds);
  inlay_request_free(request);
  EXPECT(calls > 0 && calls <= 201); /* the callback is not called any more */

  params.on_progress = NULL;
  params.deadline_seconds = 1e-6;
  EXPECT(inlay_submit(engine, &params, &request) == INLAY_OK);
  while ((status = inlay_request_next(request, -1, &piece)) == INLAY_OK)
    ;
  EXPECT_ERROR(status, INLAY_DEADLINE_EXCEEDED, "deadline");
  EXPECT(inlay_request_finish_reason(request, 0) == INLAY_FINISH_ERROR);
  inlay_request_free(request);
  params.deadline_seconds = -1;
  EXPECT_ERROR(inlay_submit(engine, &params, &request), INLAY_INVALID_ARGUMENT, "deadline_seconds is -1");
}

/* One thread takes all tokens of many requests. */
static void test_queue(inlay_engine *engine) {
  enum { kRequests = 24, kTokens = 10, kStop = 99 };
  inlay_sampling_params sampling;
  inlay_request *requests[kRequests];
  inlay_queue *queue;
  inlay_piece piece;
  uint64_t tags[4];
  size_t count, i;
  int tokens[kRequests] = {0}, ended = 0;
  greedy(&sampling, kTokens);
  piece.struct_size = sizeof piece;
  EXPECT(inlay_queue_create(&queue) == INLAY_OK);
  EXPECT(inlay_queue_wait(queue, 0, tags, 4, &count) == INLAY_TIMEOUT && count == 0);
  EXPECT_ERROR(inlay_queue_wait(queue, 0, tags, 0, &count), INLAY_INVALID_ARGUMENT, "capacity is 0");
  EXPECT(inlay_queue_push(queue, kStop) == INLAY_OK && inlay_queue_push(queue, kStop) == INLAY_OK);
  EXPECT(inlay_queue_wait(queue, -1, tags, 4, &count) == INLAY_OK && count == 1 && tags[0] == kStop);
  for (i = 0; i < kRequests; ++i) {
    requests[i] = submit(engine, "class A:", &sampling);
    EXPECT(inlay_request_report(requests[i], queue, i) == INLAY_OK);
  }
  while (ended < kRequests && inlay_queue_wait(queue, 10, tags, 4, &count) == INLAY_OK)
    for (i = 0; i < count; ++i) {
      inlay_status status;
      while ((status = inlay_request_next(requests[tags[i]], 0, &piece)) == INLAY_OK)
        ++tokens[tags[i]];
      /* A tag may be in the queue once more after the end of its request was returned. */
      if (status == INLAY_END && tokens[tags[i]] == kTokens) {
        tokens[tags[i]] = -kTokens;
        ++ended;
      }
    }
  EXPECT(ended == kRequests);
  inlay_queue_free(queue); /* before the requests that report to it */
  for (i = 0; i < kRequests; ++i)
    inlay_request_free(requests[i]);
}

/* Pieces have the index of their sequence. Each sequence has the same tokens as a request with n = 1. */
static void test_several_sequences(inlay_engine *engine) {
  inlay_sampling_params sampling;
  inlay_request *request;
  inlay_piece piece;
  int tokens[3] = {0, 0, 0};
  int32_t index;
  greedy(&sampling, 12);
  sampling.temperature = 1;
  sampling.has_seed = 1;
  sampling.n = 3;
  request = submit(engine, "class A:", &sampling);
  piece.struct_size = sizeof piece;
  while (inlay_request_next(request, -1, &piece) == INLAY_OK && piece.index >= 0 && piece.index < 3)
    ++tokens[piece.index];
  for (index = 0; index < 3; ++index)
    EXPECT(tokens[index] == 12 && inlay_request_finish_reason(request, index) == INLAY_FINISH_LENGTH);
  EXPECT(inlay_request_finish_reason(request, 3) == INLAY_FINISH_NONE);
  inlay_request_free(request);
}

/* The plan is equal to what loading allocates. */
static void test_plan(const char *bundle) {
  inlay_engine_options options;
  inlay_engine *engine = NULL;
  inlay_memory_plan plan;
  inlay_stats stats;
  char *explanation = NULL;
  EXPECT(inlay_engine_options_init(&options, sizeof options, INLAY_ABI_VERSION) == INLAY_OK);
  options.target = "cpu";
  options.kv_cache_bytes = 1 << 20;
  plan.struct_size = sizeof plan;
  stats.struct_size = sizeof stats;
  EXPECT(inlay_engine_plan(bundle, &options, &plan, &explanation) == INLAY_OK);
  EXPECT(explanation && strlen(explanation) > 0);
  inlay_free(explanation);
  EXPECT(inlay_engine_plan(bundle, &options, &plan, NULL) == INLAY_OK);
  EXPECT(plan.draft_bytes == 0 && plan.ranks == 1 && options.distributed_timeout == 10);
  options.tensor_parallel_size = 2;
  EXPECT_ERROR(inlay_engine_plan(bundle, &options, &plan, NULL), INLAY_INVALID_ARGUMENT, "was compiled for 1");
  options.tensor_parallel_size = 1;
  options.distributed_timeout = -1;
  EXPECT_ERROR(inlay_engine_plan(bundle, &options, &plan, NULL), INLAY_INVALID_ARGUMENT, "--distributed-timeout is -1");
  options.distributed_timeout = 10;
  EXPECT(!options.distributed_backend);
  options.distributed_backend = "mpi";
  EXPECT_ERROR(inlay_engine_plan(bundle, &options, &plan, NULL), INLAY_INVALID_ARGUMENT,
               "--distributed-backend is 'mpi', expected auto, peer or nccl");
  options.distributed_backend = "auto";
  EXPECT(inlay_engine_plan(bundle, &options, &plan, NULL) == INLAY_OK);
  options.distributed_backend = NULL;
  EXPECT(!options.devices && options.device_count == 0);
  options.device_count = 1;
  EXPECT_ERROR(inlay_engine_plan(bundle, &options, &plan, NULL), INLAY_INVALID_ARGUMENT, "devices is NULL");
  const int32_t devices[] = {0, 0};
  options.devices = devices;
  EXPECT_ERROR(inlay_engine_plan(bundle, &options, &plan, NULL), INLAY_INVALID_ARGUMENT, "--device names GPUs, but ");
  options.device_count = 2;
  EXPECT_ERROR(inlay_engine_plan(bundle, &options, &plan, NULL), INLAY_INVALID_ARGUMENT, "--device names 2 GPUs, but ");
  options.devices = NULL;
  options.device_count = 0;
  options.speculative_model = bundle;
  options.num_speculative_tokens = 2;
  EXPECT(inlay_engine_plan(bundle, &options, &plan, NULL) == INLAY_OK);
  EXPECT(plan.draft_bytes > plan.weights_bytes);
  options.speculative_model = NULL;
  options.num_speculative_tokens = 0;

  /* A program of the first version has shorter structures. Fields beyond their end are neither read nor written. */
  options.struct_size = offsetof(inlay_engine_options, speculative_model);
  options.speculative_model = options.weights_source = "/nowhere";
  plan.struct_size = offsetof(inlay_memory_plan, draft_bytes);
  plan.draft_bytes = 77;
  EXPECT(inlay_engine_plan(bundle, &options, &plan, NULL) == INLAY_OK);
  EXPECT(plan.draft_bytes == 77 && plan.struct_size == offsetof(inlay_memory_plan, draft_bytes));
  inlay_sampling_params sampling;
  memset(&sampling, 0x55, sizeof sampling);
  size_t first_size = offsetof(inlay_sampling_params, include_stop_str_in_output);
  EXPECT(inlay_sampling_params_init(&sampling, first_size, INLAY_ABI_VERSION) == INLAY_OK);
  EXPECT(sampling.max_tokens == 16 && sampling.struct_size == first_size && sampling.skip_special_tokens == 0x55555555);
  options.speculative_model = options.weights_source = NULL;
  EXPECT(inlay_engine_load(bundle, &options, &engine) == INLAY_OK);
  EXPECT(inlay_engine_stats(engine, &stats) == INLAY_OK);
  EXPECT(plan.weights_bytes == stats.weights_bytes && plan.kv_cache_tokens == stats.kv_cache_tokens &&
         plan.total_pages == stats.total_pages && plan.max_num_seqs == stats.max_num_seqs);
  EXPECT(plan.kv_cache_bytes > 0 && plan.kv_cache_bytes <= 1 << 20);
  inlay_engine_free(engine);
  EXPECT_ERROR(inlay_engine_plan("/nowhere", &options, &plan, NULL), INLAY_NOT_FOUND, "/nowhere");
}

/* Programs of version 1.2, whose structures end earlier. */
static void test_older_requests(inlay_engine *engine) {
  inlay_sampling_params sampling;
  inlay_request *request;
  inlay_piece piece;
  const inlay_token_logprob *top;
  inlay_token_logprob token;
  size_t count;
  int32_t rank = -1;
  greedy(&sampling, 2);
  sampling.prompt_logprobs = sampling.logprobs = 1;
  sampling.struct_size = offsetof(inlay_sampling_params, include_stop_str_in_output);
  sampling.allowed_token_id_count = 77; /* beyond that program's structure */
  piece.struct_size = offsetof(inlay_piece, rank);
  piece.rank = 77;
  request = submit(engine, "class A:", &sampling);
  EXPECT(inlay_request_next(request, -1, &piece) == INLAY_OK && piece.rank == 77);
  EXPECT(piece.struct_size == offsetof(inlay_piece, rank));
  EXPECT(inlay_request_prompt_logprob(request, 1, &token, &top, &count) == INLAY_OK && count == 1);
  EXPECT(inlay_request_prompt_rank(request, 1, &rank) == INLAY_OK && (rank == 1) == (token.id == top->id));
  EXPECT_ERROR(inlay_request_prompt_rank(request, 0, &rank), INLAY_INVALID_ARGUMENT, "position is 0");
  inlay_request_free(request);
}

static void test_shutdown(const char *bundle) {
  inlay_engine *engine = load(bundle);
  inlay_sampling_params sampling;
  inlay_request *request;
  inlay_request_params params;
  static char text[1 << 16];
  greedy(&sampling, 20);
  request = submit(engine, "x", &sampling);
  EXPECT(inlay_engine_health(engine) == INLAY_OK);
  EXPECT(inlay_engine_shutdown(engine, -1) == INLAY_OK);
  EXPECT(collect(request, text, sizeof text) == 20);
  inlay_request_free(request);
  EXPECT(inlay_request_params_init(&params, sizeof params, INLAY_ABI_VERSION) == INLAY_OK);
  params.prompt = "x";
  params.prompt_size = 1;
  EXPECT(inlay_submit(engine, &params, &request) != INLAY_OK && request == NULL);
  inlay_engine_free(engine);
}

int main(int argc, char **argv) {
  inlay_engine *engine;
  if (argc != 2) {
    fprintf(stderr, "usage: c_api_test BUNDLE\n");
    return 1;
  }
  test_versions();
  test_wrong_arguments(argv[1]);
  engine = load(argv[1]);
  test_text(engine);
  test_conversations(engine);
  test_older_requests(engine);
  test_generate(engine);
  test_timeouts_and_deadlines(engine);
  test_queue(engine);
  test_several_sequences(engine);
  inlay_engine_free(engine);
  test_cancel_and_lifetimes(argv[1]);
  test_shutdown(argv[1]);
  test_plan(argv[1]);
  if (failures)
    fprintf(stderr, "%d expectations failed\n", failures);
  return failures != 0;
}
