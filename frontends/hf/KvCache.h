// How keys and values are cached: as the model's floats, or as fp8 with the scales of a checkpoint.

#ifndef INLAY_FRONTENDS_HF_KV_CACHE_H
#define INLAY_FRONTENDS_HF_KV_CACHE_H

#include "formats/safetensors/safetensors.h"
#include "frontends/hf/Config.h"

namespace inlay::hf {

// Sets `config.fp8_cache` by what the options ask for and what the checkpoint says. Reports what cannot be.
void ChooseCache(CacheType wanted, ModelConfig &config, Problems &problems);

// Finds the scales of a model with an fp8 cache among the tensors of its checkpoint. Reports layers without them.
void FindCacheScales(const SafetensorsIndex &weights, ModelConfig &config, Problems &problems);

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_KV_CACHE_H
