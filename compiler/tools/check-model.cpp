// check-model: what of a model directory is supported, and everything that is not.

#include <cstdio>

#include "frontends/hf/CheckModel.h"
#include "runtime/tools/command_line.h"

int main(int argc, char **argv) {
  CLI::App app("Lists every unsupported key, dtype and shape of a Hugging Face model directory", "check-model");
  std::string directory;
  bool json = false;
  inlay::hf::CheckpointOptions options;
  app.add_option("MODEL_DIR", directory, "Directory with config.json and safetensors")->required();
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
