// What `check-model` says about a model directory.

#ifndef INLAY_FRONTENDS_HF_CHECK_MODEL_H
#define INLAY_FRONTENDS_HF_CHECK_MODEL_H

#include <string>

#include "absl/status/status.h"

#include "frontends/hf/Checkpoint.h"

namespace inlay::hf {

// Whether the runtime could read the directory's tokenizer; OK if there is none: such a model takes token ids.
absl::Status CheckTokenizer(const std::string &directory);

struct Report {
  bool supported = false; // No problem is an error; the tokenizer's are among them, if there is one.
  std::string text;       // The summary and one line for each problem, or JSON.
};

Report CheckModel(const std::string &directory, const CheckpointOptions &options, bool json);

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_CHECK_MODEL_H
