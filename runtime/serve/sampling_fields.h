// Request fields of completions and chats for sampling, stop conditions and the contents of the response. Names and
// ranges are those of OpenAI and vLLM; docs/api.md gives the meaning of each.
#ifndef INLAY_RUNTIME_SERVE_SAMPLING_FIELDS_H_
#define INLAY_RUNTIME_SERVE_SAMPLING_FIELDS_H_

#include "runtime/serve/fields.h"
#include "runtime/serve/openai_request.h"

namespace inlay::serve {

// Errors are kept in `fields`. The caller must have read `out.echo`.
void ReadSamplingFields(Fields &fields, const RequestContext &context, GenerationRequest &out);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_SAMPLING_FIELDS_H_
