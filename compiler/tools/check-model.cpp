// check-model: what compile-model would make of a model directory, and what it would leave out.

#include <cstdio>

#include "frontends/hf/CheckModel.h"
#include "runtime/tools/command_line.h"

int main(int argc, char **argv) {
  CLI::App app("Says whether compile-model takes a Hugging Face model directory, and what becomes of each file in it.\n"
               "The tokenizer is loaded, and every chat template is rendered on a few conversations.",
               "check-model");
  app.footer("Lines begin with\n"
             "  error:    compile-model refuses the directory for this\n"
             "  warning:  something has another effect than its author may expect\n"
             "  note:     a file or key that is ignored, with the reason\n"
             "Exit codes: 0 supported, 1 not supported or wrong input, 2 a fault of Inlay's.");
  std::string directory;
  bool json = false;
  inlay::hf::CheckpointOptions options;
  app.add_option("MODEL_DIR", directory, "Directory with config.json, safetensors and tokenizer.json")->required();
  app.add_flag("--json", json, "Print the report as JSON");
  app.add_flag("--dummy-weights", options.dummy_weights, "Check the configuration only");
  app.add_option("--max-model-len", options.max_model_len, "Tokens of a sequence");
  if (auto code = inlay::tools::Parse(app, argc, argv))
    return *code;
  try {
    inlay::hf::Report report = inlay::hf::CheckModel(directory, options, json);
    std::fputs(report.text.c_str(), stdout);
    return report.supported ? 0 : 1;
  } catch (const std::exception &error) {
    std::fprintf(stderr, "check-model: internal error: %s\n", error.what());
    return 2;
  }
}
