// What small tensors of a quantized checkpoint say of the others: the groups of columns, shapes, states.

#ifndef INLAY_FRONTENDS_HF_QUANTIZED_CONTENTS_H
#define INLAY_FRONTENDS_HF_QUANTIZED_CONTENTS_H

#include "frontends/hf/Checkpoint.h"
#include "frontends/hf/Problems.h"

namespace inlay::hf {

// Reads them and reports what contradicts the configuration or is not supported. The tensors of weights are not read.
void CheckQuantizedContents(Checkpoint &checkpoint, Problems &problems);

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_QUANTIZED_CONTENTS_H
