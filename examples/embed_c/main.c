/* Generates a continuation of each prompt on the command line through the C interface. All prompts run in one batch.
 *   embed_c BUNDLE PROMPT... */
#include <inlay.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(inlay_status status) {
  fprintf(stderr, "embed_c: %s: %s\n", inlay_status_name(status), inlay_last_error());
  return 1;
}

int main(int argc, char **argv) {
  inlay_engine_options options;
  inlay_sampling_params sampling;
  inlay_request_params params;
  inlay_engine *engine;
  inlay_request **requests;
  inlay_status status;
  int i, failed = 0;

  if (argc < 3) {
    fprintf(stderr, "usage: embed_c BUNDLE PROMPT...\n");
    return 1;
  }
  /* Each of these functions returns an error if this program and libinlay.so are not compatible. */
  if ((status = inlay_engine_options_init(&options, sizeof options, INLAY_ABI_VERSION)) != INLAY_OK ||
      (status = inlay_sampling_params_init(&sampling, sizeof sampling, INLAY_ABI_VERSION)) != INLAY_OK ||
      (status = inlay_request_params_init(&params, sizeof params, INLAY_ABI_VERSION)) != INLAY_OK ||
      (status = inlay_engine_load(argv[1], &options, &engine)) != INLAY_OK)
    return fail(status);
  inlay_engine_default_sampling(engine, &sampling);
  sampling.max_tokens = 64;
  sampling.has_seed = 1;
  sampling.seed = 1;
  params.sampling = &sampling;

  /* inlay_submit does not wait. The engine runs all requests together. */
  requests = calloc((size_t)argc, sizeof *requests);
  for (i = 2; i < argc && requests && !failed; ++i) {
    params.prompt = argv[i];
    params.prompt_size = strlen(argv[i]);
    if ((status = inlay_submit(engine, &params, &requests[i])) != INLAY_OK)
      failed = fail(status);
  }
  for (i = 2; i < argc && requests && !failed; ++i) {
    inlay_piece piece;
    piece.struct_size = sizeof piece;
    printf("--- %s", argv[i]);
    while ((status = inlay_request_next(requests[i], -1, &piece)) == INLAY_OK) {
      fwrite(piece.text, 1, piece.text_size, stdout);
      fflush(stdout);
    }
    printf("\n");
    if (status != INLAY_END)
      failed = fail(status);
  }
  for (i = 2; i < argc && requests; ++i)
    inlay_request_free(requests[i]);
  free(requests);
  inlay_engine_free(engine);
  return failed;
}
