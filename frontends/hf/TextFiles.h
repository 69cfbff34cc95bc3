// The text side of a model directory: its tokenizer, and chat templates that are tried on a few conversations.

#ifndef INLAY_FRONTENDS_HF_TEXT_FILES_H
#define INLAY_FRONTENDS_HF_TEXT_FILES_H

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "frontends/hf/Problems.h"

namespace inlay::hf {

struct TextFiles {
  bool has_tokenizer = false;             // tokenizer.json; without it the model takes token ids only
  std::optional<int64_t> eos;             // the id of the tokenizer's eos_token
  std::vector<std::string> templates;     // names of the chat templates
  std::vector<std::string> conversations; // kinds of conversations that the templates render
};

// Loads the tokenizer as the runtime does, parses every chat template, renders it and tokenizes what it gives. What the
// runtime would refuse is an error in `problems`. A template that cannot render any conversation is an error, one that
// cannot render some of them a warning, and what a template refuses by itself (raise_exception) a note.
TextFiles ReadTextFiles(const std::string &directory, int64_t vocab_size, Problems &problems);

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_TEXT_FILES_H
