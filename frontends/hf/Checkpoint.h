// A Hugging Face directory: its configuration and where its tensors lie,
// checked against each other.

#ifndef INLAY_FRONTENDS_HF_CHECKPOINT_H
#define INLAY_FRONTENDS_HF_CHECKPOINT_H

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "frontends/hf/Config.h"
#include "frontends/hf/Problems.h"
#include "runtime/bundle/safetensors.h"

namespace inlay::hf {

struct CheckpointOptions : ModelOptions {
  bool dummy_weights = false; // The configuration is enough; tensors are not looked at.
};

struct Checkpoint {
  std::string directory;
  ModelConfig config;
  SafetensorsIndex weights; // Empty with dummy weights.
};

// Opens a directory and adds everything that is wrong with it to `problems`;
// the result is absent when one of them is an error. Only headers are read.
std::optional<Checkpoint> OpenCheckpoint(const std::string &directory, const CheckpointOptions &options,
                                         Problems &problems);

// The same, with all errors in the status, one a line.
absl::StatusOr<Checkpoint> OpenCheckpoint(const std::string &directory, const CheckpointOptions &options);

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_CHECKPOINT_H
