// check-model: reports whether compile-model supports a model directory, and which files and keys it ignores.

#include <cstdio>

#include "compiler/pipelines/ParallelSizes.h"
#include "compiler/tools/number_types.h"
#include "frontends/hf/CheckModel.h"

int main(int argc, char **argv) {
  CLI::App app(
      "Reports whether compile-model supports a Hugging Face model directory, and how each file in it is used.\n"
      "The tokenizer is loaded, and every chat template is rendered on a few conversations.",
      "check-model");
  app.footer("Each line begins with one of\n"
             "  error:    compile-model refuses the directory for this reason\n"
             "  warning:  a setting has an effect that its author may not expect\n"
             "  note:     a file or key is ignored, with the reason\n"
             "Exit codes: 0 supported, 1 not supported or invalid input, 2 internal error.");
  std::string directory;
  bool json = false;
  inlay::hf::CheckpointOptions options;
  app.add_option("MODEL_DIR", directory, "Directory with config.json, *.safetensors and tokenizer.json")->required();
  app.add_flag("--json", json, "Print the report as JSON");
  app.add_flag("--dummy-weights", options.dummy_weights, "Check the configuration only, not the weights");
  app.add_option("--max-model-len", options.max_model_len,
                 "Check for this maximum length of a sequence in tokens (default: the model's, at most 8192)");
  inlay::NumberTypes types;
  inlay::tools::addNumberTypes(app, types);
  inlay::ParallelSizes sizes;
  app.add_option("--tensor-parallel-size", sizes.tensor,
                 "Check that so many ranks can divide the weights of each layer; short form -tp")
      ->check(CLI::PositiveNumber)
      ->default_val(1);
  app.add_option("--pipeline-parallel-size", sizes.pipeline,
                 "Check that the layers can be divided among so many stages; short form -pp")
      ->check(CLI::PositiveNumber)
      ->default_val(1);
  if (auto code = inlay::tools::Parse(app, argc, argv))
    return *code;
  inlay::setNumberTypes(types, options);
  try {
    inlay::hf::Report report =
        inlay::hf::CheckModel(directory, options, json, [&](const inlay::hf::Checkpoint &checkpoint) {
          return inlay::checkParallelSizes(checkpoint.config, sizes);
        });
    std::fputs(report.text.c_str(), stdout);
    return report.supported ? 0 : 1;
  } catch (const std::exception &error) {
    std::fprintf(stderr, "check-model: internal error: %s\n", error.what());
    return 2;
  }
}
