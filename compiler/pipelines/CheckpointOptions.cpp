//===- CheckpointOptions.cpp - how a request reads its checkpoint ----------===//

#include "compiler/pipelines/CheckpointOptions.h"

using namespace inlay;

hf::CheckpointOptions inlay::checkpointOptionsOf(const CompileRequest &request) {
  hf::CheckpointOptions options;
  setNumberTypes(request, options);
  options.quantizer.input_scales = request.inputScales;
  options.max_model_len = request.maxModelLen;
  options.dummy_weights = request.weights == WeightsMode::Dummy;
  // Many models allow 131,072 positions. Rope tables and page tables of that size are built only on request
  // (--max-model-len).
  constexpr int64_t defaultMaxModelLen = 8192;
  options.default_max_model_len_cap = defaultMaxModelLen;
  return options;
}
