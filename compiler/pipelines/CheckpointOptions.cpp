//===- CheckpointOptions.cpp - how a request reads its checkpoint ----------===//

#include "compiler/pipelines/CheckpointOptions.h"

#include "llvm/ADT/StringSwitch.h"

using namespace inlay;

static hf::QuantizerOptions quantizerOf(const CompileRequest &request) {
  hf::QuantizerOptions options;
  options.fp8_head = request.quantizeLmHead;
  if (!request.quantization.empty())
    options.layers = llvm::StringSwitch<hf::Codes>(request.quantization)
                         .Case("int4", hf::Codes::kU4)
                         .Case("int8", hf::Codes::kI8)
                         .Default(hf::Codes::kF8E4M3);
  return options;
}

hf::CheckpointOptions inlay::checkpointOptionsOf(const CompileRequest &request) {
  hf::CheckpointOptions options;
  if (request.dtype != "auto")
    options.dtype = hf::ParseDType(request.dtype);
  options.max_model_len = request.maxModelLen;
  options.quantizer = quantizerOf(request);
  options.kv_cache = llvm::StringSwitch<hf::CacheType>(request.kvCacheDtype)
                         .Case("fp8", hf::CacheType::kFp8)
                         .Case("bfloat16", hf::CacheType::kBFloat16)
                         .Default(hf::CacheType::kAuto);
  options.activations = llvm::StringSwitch<hf::ActivationQuantization>(request.activations)
                            .Case("none", hf::ActivationQuantization::kNone)
                            .Case("dynamic", hf::ActivationQuantization::kDynamic)
                            .Default(hf::ActivationQuantization::kAuto);
  options.dummy_weights = request.weights == WeightsMode::Dummy;
  // Many models allow 131,072 positions. Rope tables and page tables of that size are built only on request
  // (--max-model-len).
  constexpr int64_t defaultMaxModelLen = 8192;
  options.default_max_model_len_cap = defaultMaxModelLen;
  return options;
}
