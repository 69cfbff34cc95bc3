//===- QuantizationEval.cpp - compares two bundles on a text ---------------===//

#include "compiler/pipelines/QuantizationEval.h"

#include "compiler/pipelines/CompileModel.h"
#include "compiler/pipelines/GreedyToken.h"
#include "fmt/format.h"
#include "runtime/api/inlay.h"
#include "runtime/support/files.h"
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <unistd.h>

using namespace inlay;
namespace fs = std::filesystem;

/// Positions that are compared at most. Those of a batch run side by side and share the pages of the one before.
static constexpr size_t maxPositions = 512, batch = 16;

/// The logarithm of the sum of exponentials.
static double logSum(std::span<const float> logits) {
  double most = *std::max_element(logits.begin(), logits.end()), sum = 0;
  for (float logit : logits)
    sum += std::exp(logit - most);
  return most + std::log(sum);
}

void DistributionComparison::add(std::span<const float> reference, std::span<const float> other, int32_t next) {
  double referenceSum = logSum(reference), otherSum = logSum(other), kl = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    double logprob = reference[i] - referenceSum;
    kl += std::exp(logprob) * (logprob - (other[i] - otherSum));
  }
  auto top = [](std::span<const float> logits) {
    return std::max_element(logits.begin(), logits.end()) - logits.begin();
  };
  ++positions;
  sameTop += top(reference) == top(other);
  klSum += kl;
  klMost = std::max(klMost, kl);
  referenceLogprobs += reference[static_cast<size_t>(next)] - referenceSum;
  otherLogprobs += other[static_cast<size_t>(next)] - otherSum;
}

std::string DistributionComparison::describe() const {
  auto count = static_cast<double>(positions);
  return fmt::format("{} tokens: KL divergence {:.3g} (at most {:.3g}), same top token {:.1f} %, perplexity {:.4g} "
                     "instead of {:.4g}",
                     positions, klSum / count, klMost, 100 * static_cast<double>(sameTop) / count,
                     std::exp(-otherLogprobs / count), std::exp(-referenceLogprobs / count));
}

absl::StatusOr<std::vector<std::vector<float>>> inlay::logitsAfter(Engine &engine, const std::vector<int32_t> &ids,
                                                                   size_t first, size_t end) {
  std::vector<std::unique_ptr<RequestHandle>> requests;
  for (size_t length = first; length < end; ++length) {
    absl::StatusOr<std::unique_ptr<RequestHandle>> handle = engine.Submit(greedyToken(std::span(ids).first(length)));
    if (!handle.ok())
      return handle.status();
    requests.push_back(*std::move(handle));
  }
  std::vector<std::vector<float>> rows;
  for (const std::unique_ptr<RequestHandle> &request : requests) {
    std::optional<Piece> piece = request->Next();
    if (!piece)
      return request->status().ok() ? absl::InternalError("a request ended without a token") : request->status();
    rows.push_back(std::move(piece->logits));
  }
  return rows;
}

absl::StatusOr<DistributionComparison> inlay::compareOnText(const std::string &reference, const std::string &quantized,
                                                            const std::string &text) {
  std::unique_ptr<Engine> engines[2];
  for (auto [engine, bundle] : {std::pair{&engines[0], &reference}, {&engines[1], &quantized}}) {
    EngineOptions options;
    options.target = "cpu";
    options.return_logits = true;
    absl::StatusOr<std::unique_ptr<Engine>> loaded = Engine::Load(*bundle, options);
    if (!loaded.ok())
      return loaded.status();
    *engine = *std::move(loaded);
  }
  absl::StatusOr<std::vector<int32_t>> ids = engines[0]->Tokenize(text, /*add_special_tokens=*/true);
  if (!ids.ok())
    return ids.status();
  if (ids->size() < 2)
    return absl::InvalidArgumentError(fmt::format("the text has {} tokens, expected at least 2", ids->size()));
  // The next token of the last position must be known, and one more token must fit.
  size_t end = std::min({ids->size(), maxPositions + 1, static_cast<size_t>(engines[0]->Stats().max_model_len)});
  DistributionComparison result;
  for (size_t first = 1; first < end; first += batch) {
    size_t last = std::min(first + batch, end);
    absl::StatusOr<std::vector<std::vector<float>>> rows[2];
    for (int i : {0, 1}) {
      rows[i] = logitsAfter(*engines[i], *ids, first, last);
      if (!rows[i].ok())
        return rows[i].status();
    }
    for (size_t length = first; length < last; ++length)
      result.add((*rows[0])[length - first], (*rows[1])[length - first], (*ids)[length]);
  }
  return result;
}

absl::StatusOr<std::string> inlay::readEvaluationText(const CompileRequest &request) {
  constexpr size_t maxBytes = 1 << 16; // more than maxPositions tokens
  if (request.quantizationEval.empty())
    return "";
  auto error = [&](std::string_view problem, std::string_view fix) {
    return absl::InvalidArgumentError(
        fmt::format("--quantization-eval-file {}: {}; {}", request.quantizationEval, problem, fix));
  };
  if (request.quantization.empty() && !request.quantizeLmHead && request.kvCacheDtype != "fp8")
    return error("nothing is quantized", "add --quantization, --quantize-lm-head or --kv-cache-dtype fp8");
  if (request.weights == WeightsMode::Dummy)
    return error("dummy weights say nothing about text", "compile a checkpoint");
  if (request.emit != EmitStage::Bundle || request.dryRun)
    return error("no bundle is written", "drop --emit and --dry-run");
  absl::StatusOr<std::string> text = ReadFile(request.quantizationEval);
  if (!text.ok())
    return text.status();
  if (text->size() > maxBytes) {
    text->resize(maxBytes);
    while (!text->empty() && (static_cast<unsigned char>(text->back()) & 0xc0) == 0x80) // inside of a character
      text->pop_back();
    text->pop_back();
  }
  if (text->empty())
    return error("is empty", "give a file with text");
  return text;
}

absl::Status inlay::evaluateQuantization(const CompileRequest &request, const std::string &text, std::string &out) {
  const std::string directory = fmt::format("{}.eval-{}", request.output, getpid());
  struct Cleanup {
    const std::string &path;
    ~Cleanup() {
      std::error_code ignored;
      fs::remove_all(path, ignored);
    }
  } cleanup{directory};
  // The weights of both stay in the checkpoint: quantizing them again takes no space.
  auto compile = [&](const char *name, bool isQuantized) -> absl::StatusOr<std::string> {
    CompileRequest other = request;
    other.output = fmt::format("{}/{}", directory, name);
    other.targets = {"cpu"};
    other.weights = WeightsMode::Link;
    other.quantizationEval.clear();
    other.progress = nullptr;
    other.explain = false;
    if (!isQuantized) {
      other.quantization.clear();
      other.quantizeLmHead = false;
      other.kvCacheDtype = "auto";
    }
    std::string ignored;
    if (absl::Status status = compileModel(other, ignored); !status.ok())
      return status;
    return other.output;
  };
  absl::StatusOr<std::string> reference = compile("reference", false), quantized = request.output;
  if (!reference.ok())
    return reference.status();
  if (std::find(request.targets.begin(), request.targets.end(), "cpu") == request.targets.end())
    quantized = compile("quantized", true);
  if (!quantized.ok())
    return quantized.status();
  absl::StatusOr<DistributionComparison> result = compareOnText(*reference, *quantized, text);
  if (!result.ok())
    return absl::Status(result.status().code(), fmt::format("--quantization-eval-file {}: {}", request.quantizationEval,
                                                            std::string(result.status().message())));
  out += fmt::format("{}: {}\n", request.quantizationEval, result->describe());
  return absl::OkStatus();
}
