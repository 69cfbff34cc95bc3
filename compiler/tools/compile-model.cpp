//===- compile-model.cpp - compiles a model directory into a bundle --------===//

#include "compiler/pipelines/CompileModel.h"
#include "compiler/tools/number_types.h"
#include <atomic>
#include <csignal>
#include <cstdio>
#include <map>

static std::atomic<bool> interrupted = false;

/// Ends --tune as soon as it can write what it has; a second Ctrl-C ends the program.
static void interrupt(int) {
  interrupted = true;
  std::signal(SIGINT, SIG_DFL);
}

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
  app.add_option("-o,--output", request.output, "Bundle directory to write, for example llama.inlay");
  app.add_option("--target", request.targets, "Targets, separated by commas: cpu, sm_90a (H100, H200)")
      ->delimiter(',')
      ->default_val("cpu");
  inlay::tools::addNumberTypes(app, request);
  app.add_option("--quantization-eval-file", request.quantizationEval,
                 "Text to compare the quantized model with the unquantized one on the CPU: KL divergence, share of "
                 "equal top tokens, perplexities; the first 512 tokens");
  app.add_option("--calibration-file", request.calibration,
                 "Text that gives the activations of --quantization fp8 static scales: one for each input of products "
                 "on GPUs, the largest that a token of the text has on the CPU");
  std::map<std::string, inlay::WeightsMode> modes{{"pack", inlay::WeightsMode::Pack},
                                                  {"link", inlay::WeightsMode::Link}};
  app.add_option("--weights", request.weights,
                 "pack (default): copy the weights into the bundle; link: read them from the checkpoint at load")
      ->transform(CLI::CheckedTransformer(modes));
  app.add_flag("--dummy-weights", dummyWeights, "Use random weights; the directory needs only config.json");
  app.add_option("--max-model-len", maxModelLen,
                 "Maximum tokens of a sequence, prompt and output together (default: the model's, at most 8192)")
      ->check(CLI::PositiveNumber);
  app.add_option("--max-num-seqs", maxNumSeqs, "Maximum sequences in one step (default 16)")
      ->check(CLI::PositiveNumber);
  app.add_option("--max-num-batched-tokens", maxNumBatchedTokens, "Maximum tokens in one step (default 2048)")
      ->check(CLI::PositiveNumber);
  app.add_option("--block-size", request.blockSize, "Tokens per page of the KV cache")
      ->check(CLI::IsMember({8, 16, 32, 64, 128}))
      ->default_val(16);
  app.add_option("--tensor-parallel-size", request.parallel.tensor,
                 "Ranks that run each layer together, each with its part of the weights; short form -tp")
      ->check(CLI::PositiveNumber)
      ->default_val(1);
  app.add_option(
         "--pipeline-parallel-size", request.parallel.pipeline,
         "Stages that run the layers one after another, each with some of them, on --tensor-parallel-size ranks; "
         "short form -pp")
      ->check(CLI::PositiveNumber)
      ->default_val(1);
  std::map<std::string, inlay::EmitStage> stages{{"llm", inlay::EmitStage::Llm},
                                                 {"tile", inlay::EmitStage::Tile},
                                                 {"scheduled", inlay::EmitStage::Scheduled},
                                                 {"cuda", inlay::EmitStage::Cuda},
                                                 {"ptx", inlay::EmitStage::Ptx}};
  CLI::Option *emit =
      app.add_option("--emit", request.emit,
                     "Print an intermediate stage (llm, tile, scheduled, cuda or ptx) instead of writing a bundle")
          ->transform(CLI::CheckedTransformer(stages));
  app.add_flag("--explain", request.explain, "Print which ops were fused, which were not, and why");
  app.add_flag("--save-ir", request.saveIr,
               "Save the cuda dialect in the bundle (kernels/sm_90a/kernels.mlir) and add #line directives to the "
               "kernel sources, so that profilers show its lines");
  app.add_flag("--dry-run", request.dryRun, "Compile but do not write the bundle");
  app.add_flag("--overwrite", request.overwrite, "Replace an existing bundle");
  app.add_option("--nvrtc", request.nvrtc,
                 "Path of libnvrtc.so or its directory (default: CUDA_HOME, Python wheels, the system's library path)");
  app.add_option(
         "--tuning-file", request.tuning,
         "File with measured schedules of linear layers, from --tune; builtin: those of the compiler; none: use "
         "cost estimates only")
      ->default_val("builtin");
  bool tunes = false;
  size_t tuneCandidates = 16;
  CLI::Option *tune = app.add_flag(
      "--tune", tunes,
      "Measure schedules of the model's linear layers on this machine's GPU first (minutes), write the fastest to the "
      "file that --tuning-file names, and compile with it. Ctrl-C keeps what was measured; the same command continues");
  app.add_option("--tune-candidates", tuneCandidates,
                 "Schedules to measure for each kernel: those that the cost estimates prefer (default 16)")
      ->check(CLI::Range(1, 1000))
      ->needs(tune);
  tune->excludes(emit);
  std::map<std::string, inlay::LibraryUse> uses{{"auto", inlay::LibraryUse::Measured},
                                                {"never", inlay::LibraryUse::Never},
                                                {"always", inlay::LibraryUse::Always}};
  app.add_option("--library", request.library,
                 "Matrix products to compute with cuBLASLt: never (default), auto (those where it was measured to be "
                 "faster) or always (all that it supports, for measurements). The bundle then needs libcublasLt.so and "
                 "a second copy of those weights")
      ->transform(CLI::CheckedTransformer(uses));
  app.add_flag("--overlap-collectives{" + std::to_string(inlay::kDefaultHalvesRows) + "}", request.sums.halvesRows,
               "Run steps of prompts in two halves of their rows, so that GPUs sum one half over the ranks while they "
               "compute the other one. --overlap-collectives=ROWS: in steps of at least so many rows (default " +
                   std::to_string(inlay::kDefaultHalvesRows) + ")");
  app.add_flag(
      "--sum-prologues", request.sums.sumPrologues,
      "In steps of one sequence, let the kernel behind a sum over ranks receive it, instead of a kernel of its "
      "own. Slower on two H200s");
  app.add_option(
      "--cpu", request.cpu,
      "LLVM name of the CPU for the cpu target, for example x86-64-v3 or skylake-avx512 (default: this machine's)");
  app.add_option("--without", request.without,
                 "Disable optimizations, to measure their effect: dependent-launch (a kernel starts only after its "
                 "predecessor has ended), early-fill (a kernel loads no weights before its predecessor has ended), "
                 "fusion (each op is a separate kernel), norm-prologues (each norm is a separate kernel)")
      ->delimiter(',')
      ->check(CLI::IsMember(std::vector<std::string>(std::begin(inlay::ablations), std::end(inlay::ablations))));
  app.add_flag("-q,--quiet", quiet, "Do not print progress");
  if (std::optional<int> code = inlay::tools::Parse(app, argc, argv))
    return *code;
  if (request.output.empty() && request.emit == inlay::EmitStage::Bundle && !request.dryRun) {
    std::fprintf(stderr,
                 "compile-model: --output is missing; add -o BUNDLE, or use --emit or --dry-run to write no bundle\n");
    return 1;
  }
  if (tunes && (request.tuning == inlay::kBuiltinTuning || request.tuning == "none")) {
    std::fprintf(stderr, "compile-model: --tune writes what it measures to a file; add --tuning-file FILE\n");
    return 1;
  }
  if (tunes && llvm::all_of(request.targets, [](const std::string &target) { return target == "cpu"; })) {
    std::fprintf(stderr, "compile-model: --tune measures kernels on a GPU; add --target sm_90a\n");
    return 1;
  }
  if (tunes) {
    request.tune.emplace();
    request.tune->candidates = tuneCandidates;
    request.tune->stop = [] { return interrupted.load(); };
    std::signal(SIGINT, interrupt);
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
  return absl::IsInternal(status)    ? inlay::tools::kOurs
         : absl::IsCancelled(status) ? inlay::tools::kInterrupted
                                     : inlay::tools::kUsersInput;
}
