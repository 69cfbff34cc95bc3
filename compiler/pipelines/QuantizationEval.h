//===- QuantizationEval.h - compares two bundles on a text -----------------===//
//
// What quantization costs: how far the distributions of the next token of a quantized model are from those of the same
// model with floats. Both run on the cpu target of this machine.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_COMPILER_PIPELINES_QUANTIZATIONEVAL_H
#define INLAY_COMPILER_PIPELINES_QUANTIZATIONEVAL_H

#include "absl/status/statusor.h"
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace inlay {

class Engine;
struct CompileRequest;

/// The beginning of the text of CompileRequest::quantizationEval; empty if there is none. Fails if the file cannot be
/// read, has no text, or if the request does not quantize weights of a checkpoint.
absl::StatusOr<std::string> readEvaluationText(const CompileRequest &request);

/// Compares the bundle that `request` made with one of the unquantized model, which is removed afterwards, and appends
/// the result to `out`.
absl::Status evaluateQuantization(const CompileRequest &request, const std::string &text, std::string &out);

/// Sums over positions of a text.
class DistributionComparison {
public:
  /// Adds a position: two rows of logits of the same vocabulary, and the token that the text has next.
  void add(std::span<const float> reference, std::span<const float> other, int32_t next);

  int64_t positions = 0, sameTop = 0;
  double klSum = 0, klMost = 0;                    // KL(reference || other), nats
  double referenceLogprobs = 0, otherLogprobs = 0; // of the text's tokens

  /// One line for people.
  std::string describe() const;
};

/// The logits after the first `first`, `first` + 1, ..., `end` - 1 tokens of `ids`, from an engine with return_logits.
absl::StatusOr<std::vector<std::vector<float>>> logitsAfter(Engine &engine, const std::vector<int32_t> &ids,
                                                            size_t first, size_t end);

/// Compares the bundles `quantized` and `reference`, which have the target cpu and one tokenizer, at the first
/// positions of `text` (at most 512). InvalidArgument: the text has less than two tokens.
absl::StatusOr<DistributionComparison> compareOnText(const std::string &reference, const std::string &quantized,
                                                     const std::string &text);

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_QUANTIZATIONEVAL_H
