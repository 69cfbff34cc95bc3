// Checks of sampling parameters.
#ifndef INLAY_RUNTIME_SAMPLE_SAMPLING_PARAMS_H_
#define INLAY_RUNTIME_SAMPLE_SAMPLING_PARAMS_H_

#include "absl/status/status.h"
#include "runtime/api/inlay.h"

namespace inlay {

// Every field in its range, NaN refused; the message names the field, what was found and what is possible.
absl::Status ValidateSamplingParams(const SamplingParams &params, int32_t vocab_size);

} // namespace inlay

#endif // INLAY_RUNTIME_SAMPLE_SAMPLING_PARAMS_H_
