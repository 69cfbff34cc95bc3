// Files of a model directory that the model is not made of: named as ignored with the reason, or refused.

#ifndef INLAY_FRONTENDS_HF_OTHER_FILES_H
#define INLAY_FRONTENDS_HF_OTHER_FILES_H

#include <string>
#include <vector>

#include "frontends/hf/Problems.h"

namespace inlay::hf {

// An adapter (LoRA and the like) is no model: an error.
void RefuseAdapter(const std::string &directory, Problems &problems);

// Looks at every entry of the directory that is none of `weight_files` (names of the safetensors that are read) and no
// file that another part reads. The description of a quantization is a warning if the weights are not read as
// quantized, the rest are notes.
void CheckOtherFiles(const std::string &directory, const std::vector<std::string> &weight_files, bool is_quantized,
                     Problems &problems);

// Names of files with weights in other formats than safetensors, sorted.
std::vector<std::string> ForeignWeights(const std::string &directory);

// Names of files that hold a tokenizer in older forms than tokenizer.json, sorted.
std::vector<std::string> OlderTokenizerFiles(const std::string &directory);

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_OTHER_FILES_H
