// Request fields for guided decoding: OpenAI's response_format, vLLM's structured_outputs and guided_*.
#ifndef INLAY_RUNTIME_SERVE_FORM_FIELDS_H_
#define INLAY_RUNTIME_SERVE_FORM_FIELDS_H_

#include "runtime/api/inlay.h"
#include "runtime/serve/fields.h"
#include "runtime/serve/limits.h"

namespace inlay::serve {

// At most one form may be given, under whichever name. Mistakes are kept in `fields`.
void ReadForms(Fields &fields, const Limits &limits, GuidedParams &guided);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_FORM_FIELDS_H_
