// A Hugging Face directory: every file of it is used, named as ignored with the
// reason, or refused. check-model and compile-model both open it here, so that
// they agree.

#ifndef INLAY_FRONTENDS_HF_CHECKPOINT_H
#define INLAY_FRONTENDS_HF_CHECKPOINT_H

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "formats/safetensors/safetensors.h"
#include "frontends/hf/Config.h"
#include "frontends/hf/GenerationConfig.h"
#include "frontends/hf/Problems.h"
#include "frontends/hf/TextFiles.h"

namespace inlay::hf {

struct CheckpointOptions : ModelOptions {
  bool dummy_weights = false; // The configuration is enough; tensors are not looked at.
};

struct Checkpoint {
  std::string directory;
  // Of config.json. `eos` is generation_config.json's where that names any, with the tokenizer's eos_token, as in vLLM.
  // `tie_word_embeddings` is false where the checkpoint holds an lm_head.weight with other values.
  ModelConfig config;
  GenerationConfig generation;
  TextFiles text;
  SafetensorsIndex weights; // Empty with dummy weights.
};

// Opens a directory and adds everything that is wrong with it to `problems`;
// the result is absent when one of them is an error. Of the weights, only headers
// are read, and both of embeddings that should be the same.
std::optional<Checkpoint> OpenCheckpoint(const std::string &directory, const CheckpointOptions &options,
                                         Problems &problems);

// The same, with all errors in the status, one a line.
absl::StatusOr<Checkpoint> OpenCheckpoint(const std::string &directory, const CheckpointOptions &options);

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_CHECKPOINT_H
