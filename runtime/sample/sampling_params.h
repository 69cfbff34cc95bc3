// Checks of sampling parameters.
#ifndef INLAY_RUNTIME_SAMPLE_SAMPLING_PARAMS_H_
#define INLAY_RUNTIME_SAMPLE_SAMPLING_PARAMS_H_

#include "absl/status/status.h"
#include "runtime/api/inlay.h"

namespace inlay {

// Checks that every field is in its range; NaN is refused. The message names the field, the value and the range.
absl::Status ValidateSamplingParams(const SamplingParams &params, int32_t vocab_size);

} // namespace inlay

#endif // INLAY_RUNTIME_SAMPLE_SAMPLING_PARAMS_H_
