// What `check-model` says about a model directory.

#ifndef INLAY_FRONTENDS_HF_CHECK_MODEL_H
#define INLAY_FRONTENDS_HF_CHECK_MODEL_H

#include <functional>
#include <string>

#include "frontends/hf/Checkpoint.h"

namespace inlay::hf {

struct Report {
  bool supported = false; // No problem is an error: compile-model takes the directory.
  std::string text;       // One line for each problem, what is ignored, and the summary; or JSON.
};

// A check of what was opened without errors, beyond those of OpenCheckpoint.
using ExtraCheck = std::function<absl::Status(const Checkpoint &checkpoint)>;

// OpenCheckpoint and `extra`, if there is one, as text.
Report CheckModel(const std::string &directory, const CheckpointOptions &options, bool json,
                  const ExtraCheck &extra = nullptr);

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_CHECK_MODEL_H
