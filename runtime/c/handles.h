// What the opaque handles of the C interface hold.
#ifndef INLAY_RUNTIME_C_HANDLES_H_
#define INLAY_RUNTIME_C_HANDLES_H_

#include "runtime/api/inlay.h"
#include "runtime/c/inlay.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

struct inlay_engine {
  std::unique_ptr<inlay::Engine> engine;
  std::string target, device;
};

struct inlay_request {
  std::unique_ptr<inlay::RequestHandle> handle;
  // What the piece given out last points to.
  std::optional<inlay::Piece> piece;
  std::vector<inlay_token_logprob> top;
};

#endif // INLAY_RUNTIME_C_HANDLES_H_
