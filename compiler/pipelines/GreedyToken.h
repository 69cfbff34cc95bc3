//===- GreedyToken.h - a request for the likeliest next token --------------===//

#ifndef INLAY_COMPILER_PIPELINES_GREEDYTOKEN_H
#define INLAY_COMPILER_PIPELINES_GREEDYTOKEN_H

#include "runtime/api/inlay.h"
#include <cstdint>
#include <span>

namespace inlay {

/// Runs the model on `ids`, for what is looked at meanwhile or for the logits of the token that it generates.
inline Request greedyToken(std::span<const int32_t> ids) {
  Request request;
  request.prompt_token_ids.assign(ids.begin(), ids.end());
  request.sampling.temperature = 0;
  request.sampling.max_tokens = 1;
  request.sampling.ignore_eos = true;
  return request;
}

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_GREEDYTOKEN_H
