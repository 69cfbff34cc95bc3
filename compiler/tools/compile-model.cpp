//===- compile-model.cpp - a model directory becomes a bundle --------------===//

#include "compiler/pipelines/CompileModel.h"
#include "runtime/tools/command_line.h"
#include <cstdio>
#include <map>

int main(int argc, char **argv) {
  inlay::CompileRequest request;
  bool dummyWeights = false, quiet = false;
  int64_t maxModelLen = 0, maxNumSeqs = 0, maxNumBatchedTokens = 0;
  CLI::App app{"Compiles a Hugging Face model directory into a bundle of fused kernels.\n\n"
               "  compile-model Llama-3.2-1B -o llama.inlay --target sm_90a\n"
               "  compile-model config-only-directory -o speed.inlay --target sm_90a --dummy-weights\n",
               "compile-model"};
  app.add_option("model", request.modelDirectory, "Directory with config.json, *.safetensors and tokenizer.json")
      ->required();
  app.add_option("-o,--output", request.output, "Bundle directory to write");
  app.add_option("--target", request.targets, "Targets, separated by commas: cpu, sm_90a")
      ->delimiter(',')
      ->default_val("cpu");
  app.add_option("--dtype", request.dtype, "Type of weights and activations; auto is the checkpoint's")
      ->check(CLI::IsMember({"auto", "bfloat16", "float16", "float32"}))
      ->default_val("auto");
  std::map<std::string, inlay::WeightsMode> modes{{"pack", inlay::WeightsMode::Pack},
                                                  {"link", inlay::WeightsMode::Link}};
  app.add_option("--weights", request.weights, "pack: copy into the bundle; link: read the checkpoint while loading")
      ->transform(CLI::CheckedTransformer(modes));
  app.add_flag("--dummy-weights", dummyWeights, "Random weights; a config.json is enough");
  app.add_option("--max-model-len", maxModelLen, "Positions of a sequence (default: the model's, at most 8192)")
      ->check(CLI::PositiveNumber);
  app.add_option("--max-num-seqs", maxNumSeqs, "Sequences of a step (default 16)")->check(CLI::PositiveNumber);
  app.add_option("--max-num-batched-tokens", maxNumBatchedTokens, "Rows of a step (default 2048)")
      ->check(CLI::PositiveNumber);
  app.add_option("--block-size", request.blockSize, "Positions of a KV page")
      ->check(CLI::IsMember({8, 16, 32, 64, 128}))
      ->default_val(16);
  std::map<std::string, inlay::EmitStage> stages{{"llm", inlay::EmitStage::Llm},
                                                 {"tile", inlay::EmitStage::Tile},
                                                 {"cuda", inlay::EmitStage::Cuda},
                                                 {"ptx", inlay::EmitStage::Ptx}};
  app.add_option("--emit", request.emit, "Print a stage instead of writing a bundle: llm, tile, cuda, ptx")
      ->transform(CLI::CheckedTransformer(stages));
  app.add_flag("--explain", request.explain, "Print what was fused, what was not, and why");
  app.add_flag(
      "--save-ir", request.saveIr,
      "Add the cuda dialect to the bundle (kernels/sm_90a/kernels.mlir) and refer to its lines with #line in the "
      "kernels' sources, so that profilers show them");
  app.add_flag("--dry-run", request.dryRun, "Do everything but write the bundle");
  app.add_flag("--overwrite", request.overwrite, "Replace the bundle if there is one");
  app.add_option("--nvrtc", request.nvrtc, "libnvrtc, or the folder that holds it");
  app.add_option("--tuning-file", request.tuning,
                 "Measured configs of linear layers; builtin: the compiler's own; none: its estimates alone")
      ->default_val("builtin");
  std::map<std::string, inlay::LibraryUse> uses{{"auto", inlay::LibraryUse::Measured},
                                                {"never", inlay::LibraryUse::Never},
                                                {"always", inlay::LibraryUse::Always}};
  app.add_option(
         "--library", request.library,
         "Products that cuBLASLt computes instead of kernels of the bundle, which then needs libcublasLt.so and a "
         "second copy of their weights: never (default), auto (where it was measured to be faster), always (all it "
         "can, to measure it)")
      ->transform(CLI::CheckedTransformer(uses));
  app.add_option("--cpu", request.cpu, "LLVM's name of the CPU to compile for (default: this one)");
  app.add_option(
         "--without", request.without,
         "Leave these out, to measure what they are worth: dependent-launch (kernels start when the one before has "
         "ended), early-fill (nothing is loaded before that), norm-prologues (norms are kernels of their own)")
      ->delimiter(',')
      ->check(CLI::IsMember(std::vector<std::string>(std::begin(inlay::ablations), std::end(inlay::ablations))));
  app.add_flag("-q,--quiet", quiet, "No progress");
  if (std::optional<int> code = inlay::tools::Parse(app, argc, argv))
    return *code;
  if (request.output.empty() && request.emit == inlay::EmitStage::Bundle && !request.dryRun) {
    std::fprintf(stderr,
                 "compile-model: --output is missing; add -o BUNDLE, or --emit or --dry-run to write nothing\n");
    return 1;
  }
  if (request.tuning == "none")
    request.tuning.clear();
  if (dummyWeights)
    request.weights = inlay::WeightsMode::Dummy;
  auto optional = [](int64_t value) { return value ? std::optional<int64_t>(value) : std::nullopt; };
  request.maxModelLen = optional(maxModelLen);
  request.maxNumSeqs = optional(maxNumSeqs);
  request.maxNumBatchedTokens = optional(maxNumBatchedTokens);
  if (!quiet)
    request.progress = [](const std::string &line) { std::fprintf(stderr, "%s\n", line.c_str()); };
  std::string out;
  absl::Status status = inlay::compileModel(request, out);
  std::fputs(out.c_str(), stdout);
  if (status.ok())
    return 0;
  std::fprintf(stderr, "compile-model: %s\n", std::string(status.message()).c_str());
  return absl::IsInternal(status) ? 2 : 1;
}
