#include "frontends/hf/Quantization.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "frontends/hf/QuantizationReader.h"

namespace inlay::hf {

std::string Scheme::ToString() const {
  std::string text;
  switch (codes) {
  case Codes::kU4:
    text = "int4";
    break;
  case Codes::kNf4:
    text = "nf4";
    break;
  case Codes::kU8:
  case Codes::kI8:
    text = "int8";
    break;
  case Codes::kF8E4M3:
    text = layout == TensorLayout::kMxfp4 ? "mxfp4" : "fp8 e4m3";
    break;
  }
  switch (scales) {
  case ScaleShape::kTensor:
    text += ", one scale";
    break;
  case ScaleShape::kRow:
    text += ", a scale for each row";
    break;
  case ScaleShape::kBlock:
    text += fmt::format(", blocks of {} x {}", block_rows, group);
    break;
  case ScaleShape::kGroup:
    text += fmt::format(", groups of {} columns", group);
    break;
  }
  return text + (zero_points ? ", zero points" : "");
}

bool Scheme::RefuseOtherCodes() {
  const bool fits = (codes == Codes::kF8E4M3 || codes == Codes::kI8) && !zero_points;
  if (!fits)
    RefuseActivations(fmt::format("its weight is {}; expected fp8 or int8 without zero points", ToString()));
  return !fits;
}

std::string Quantization::DescribeActivations() const {
  const std::string_view on_targets = quantizes_on_all_targets_ ? "" : " on GPUs";
  const std::pair<ActivationScheme, std::string> texts_of_schemes[] = {
      {ActivationScheme::kTokens,
       fmt::format("activations are quantized for each token in steps with prompts{}, and are floats in all others "
                   "(--activation-quantization)",
                   on_targets)},
      {ActivationScheme::kStatic,
       fmt::format("activations are quantized by {} in steps with prompts on GPUs, and are floats in all others "
                   "(--activation-quantization)",
                   is_of_floats_ ? "the scales of the calibration" : "input_scale")},
      {ActivationScheme::kGroups,
       fmt::format("activations are quantized for each token and each 128 columns in steps with prompts{}, and are "
                   "floats in all others (--activation-quantization)",
                   on_targets)},
  };
  std::vector<std::string> texts;
  for (const auto &[scheme, description] : texts_of_schemes)
    if (std::any_of(rules_.begin(), rules_.end(), [&](const Rule &rule) { return rule.scheme.activations == scheme; }))
      texts.emplace_back(description);
  for (const Rule &rule : rules_)
    if (rule.scheme.activations == ActivationScheme::kOther)
      if (std::string text = fmt::format("weights are quantized, activations are not: products are computed with "
                                         "activations as floats ({})",
                                         rule.scheme.activation_obstacle);
          std::find(texts.begin(), texts.end(), text) == texts.end())
        texts.push_back(std::move(text));
  return fmt::format("{}", fmt::join(texts, "; "));
}

void Quantization::SetActivations(ActivationQuantization choice) {
  quantizes_on_all_targets_ = choice == ActivationQuantization::kDynamic;
  for (Rule &rule : rules_) {
    Scheme &scheme = rule.scheme;
    if (choice == ActivationQuantization::kNone)
      scheme.activations = ActivationScheme::kFloats;
    else if (choice == ActivationQuantization::kDynamic && scheme.activations != ActivationScheme::kGroups &&
             !scheme.RefuseOtherCodes())
      scheme.activations = ActivationScheme::kTokens;
  }
}

const Scheme *Quantization::SchemeOf(std::string_view module, bool is_head) const {
  if (is_head && head_scheme_)
    return &*head_scheme_;
  if ((is_head && !head_) || ignored_.Match(module))
    return nullptr;
  for (const Rule &rule : rules_)
    if (rule.targets.IsEmpty() || rule.targets.Match(module))
      return &rule.scheme;
  return nullptr;
}

std::optional<float> Quantization::InputScaleOf(const std::string &name) const {
  const auto found = input_scales_.find(name);
  return found == input_scales_.end() ? std::nullopt : std::optional(found->second);
}

Quantization Quantization::OfFloats(const QuantizerOptions &options) {
  Quantization result;
  result.is_of_floats_ = true;
  result.method_ = "--quantize-lm-head fp8";
  Scheme scheme{.layout = TensorLayout::kFloats, .scales = ScaleShape::kRow};
  if (options.fp8_head)
    result.head_scheme_ = scheme;
  if (!options.layers)
    return result;
  scheme.codes = *options.layers;
  result.method_ = "--quantization fp8";
  if (scheme.codes == Codes::kF8E4M3)
    scheme.activations = options.input_scales.empty() ? ActivationScheme::kTokens : ActivationScheme::kStatic;
  result.input_scales_ = options.input_scales;
  if (scheme.codes == Codes::kI8)
    result.method_ = "--quantization int8";
  if (scheme.codes == Codes::kU4) {
    result.method_ = "--quantization int4";
    scheme.scales = ScaleShape::kGroup; // Of as many columns as divide those of the matrix.
  }
  result.rules_.push_back({{}, scheme});
  return result;
}

Quantization Quantization::Read(ConfigReader &keys, Problems &problems, std::string_view file) {
  return QuantizationReader(keys, problems, file).ReadConfig();
}

Quantization Quantization::ReadModelOptFile(ConfigReader &keys, Problems &problems, std::string_view file) {
  return QuantizationReader(keys, problems, file).ReadModelOptFile();
}

} // namespace inlay::hf
