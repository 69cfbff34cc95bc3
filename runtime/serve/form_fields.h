// Request fields for guided decoding: OpenAI's response_format, vLLM's structured_outputs and guided_*.
#ifndef INLAY_RUNTIME_SERVE_FORM_FIELDS_H_
#define INLAY_RUNTIME_SERVE_FORM_FIELDS_H_

#include "runtime/api/inlay.h"
#include "runtime/serve/fields.h"
#include "runtime/serve/limits.h"

namespace inlay::serve {

// At most one constraint may be given, under any of the names. Errors are kept in `fields`.
void ReadForms(Fields &fields, const Limits &limits, GuidedParams &guided);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_FORM_FIELDS_H_
