// Fields that completions and chats have in common: how tokens are chosen, what ends the answer, what it shows. Names
// and ranges are OpenAI's, then vLLM's; docs/api.md says what each means.
#ifndef INLAY_RUNTIME_SERVE_SAMPLING_FIELDS_H_
#define INLAY_RUNTIME_SERVE_SAMPLING_FIELDS_H_

#include "runtime/serve/fields.h"
#include "runtime/serve/openai_request.h"

namespace inlay::serve {

// Mistakes are kept in `fields`. `out.echo` is read before.
void ReadSamplingFields(Fields &fields, const RequestContext &context, GenerationRequest &out);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_SAMPLING_FIELDS_H_
