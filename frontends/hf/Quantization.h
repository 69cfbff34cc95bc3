// How the matrices of a model are stored, as a checkpoint does, or as the quantizer of compile-model makes them of
// floats. A checkpoint describes it in `quantization_config` of config.json or in hf_quant_config.json, in one of the
// formats that docs/quantization.md lists. What is not supported is refused by key and value.

#ifndef INLAY_FRONTENDS_HF_QUANTIZATION_H
#define INLAY_FRONTENDS_HF_QUANTIZATION_H

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "frontends/hf/ConfigReader.h"
#include "frontends/hf/ModulePatterns.h"

namespace inlay::hf {

// What a stored element stands for, before zero point and scale.
enum class Codes {
  kU4,     // 0 to 15
  kNf4,    // 16 quantiles of the normal distribution (Dettmers et al., 2023)
  kU8,     // 0 to 255
  kI8,     // -128 to 127
  kF8E4M3, // no infinities
};

// The tensors of a matrix, by the names of their formats.
enum class TensorLayout {
  kPlain,             // `weight` [rows, columns], a byte an element
  kCompressedTensors, // `weight_packed`: words along the columns
  kMxfp4,             // `weight_packed`: e2m1 in bytes along the columns, `weight_scale`: bytes that are exponents
  kAwq,               // `qweight` [columns, words along the rows, in the order of AWQ], `qzeros`, `scales`
  kGptq,              // `qweight` [words along the columns, rows], `qzeros`, `scales`
  kBitsAndBytes4,     // `weight`: all elements in one vector, `weight.absmax`
  kFloats,            // `weight` of floats, which are quantized when they are read
};

// How a format quantizes what a matrix is multiplied by.
enum class ActivationScheme {
  kFloats, // Not at all.
  kTokens, // Each row has a scale, found while it is computed.
  kGroups, // Each 128 columns of a row have one, found while it is computed.
  kStatic, // All rows have one scale: `input_scale` of the checkpoint, or one that was found on a text.
  kOther,  // In a way that is not supported; they stay floats.
};

// What --activation-quantization asks for.
enum class ActivationQuantization {
  kAuto,    // As the checkpoint says, and kTokens where floats are quantized to fp8.
  kNone,    // Activations stay floats.
  kDynamic, // kTokens for each matrix of 8-bit codes without zero points, kGroups where the checkpoint says so.
};

// What shares a scale.
enum class ScaleShape { kTensor, kRow, kBlock, kGroup };

// Scales that share a scale in bitsandbytes.
inline constexpr int64_t kNestedBlock = 256;

// How one kind of matrix is stored.
struct Scheme {
  Codes codes = Codes::kF8E4M3;
  TensorLayout layout = TensorLayout::kPlain;
  ScaleShape scales = ScaleShape::kTensor;
  int64_t group = 0;                // Columns of a group or of a block; 0: the scale is that of the row.
  int64_t block_rows = 0;           // Of kBlock.
  bool zero_points = false;         // Of each group, stored beside the scales.
  int64_t zero_point_offset = 0;    // Added to what is stored: 1 in the first version of GPTQ.
  bool column_groups = false;       // `g_idx` may give each column its group.
  bool needs_column_groups = false; // It must: columns were sorted while they were quantized.
  ActivationScheme activations = ActivationScheme::kFloats;
  std::string activation_obstacle = {};         // Of kOther: what is not supported.
  bool nested_scales = false;                   // Scales are codes themselves, each block of them with a scale.
  std::string_view scale_name = "weight_scale"; // Of kPlain.
  double scale_factor = 1.0;                    // Of each scale.

  // Of a code as it is stored.
  int64_t bits() const { return codes == Codes::kU4 || codes == Codes::kNf4 || layout == TensorLayout::kMxfp4 ? 4 : 8; }
  // "int4, groups of 128 columns, zero points"
  std::string ToString() const;
  // Refuses activations of a matrix whose codes are not multiplied by codes; whether it did.
  bool RefuseOtherCodes();
  // Activations stay floats, for this reason.
  void RefuseActivations(std::string obstacle) {
    activations = ActivationScheme::kOther;
    activation_obstacle = std::move(obstacle);
  }
};

// What the quantizer of compile-model makes of matrices of floats (--quantization).
struct QuantizerOptions {
  std::optional<Codes> layers; // Of the matrices of layers: kF8E4M3, kI8 or kU4; absent: they stay floats.
  bool fp8_head = false;       // Of the matrix that makes the logits.
  // Scales of what the matrices of layers are multiplied by, which were found on a text, by the names of their weights
  // (WeightSpec::name). Empty: each token has one, found while it is computed.
  std::map<std::string, float> input_scales = {};

  bool IsEmpty() const { return !layers && !fp8_head; }
};

class Quantization {
public:
  // Quantizes floats.
  static Quantization OfFloats(const QuantizerOptions &options);
  // Reads the object `keys`. What is unknown or unsupported is reported.
  static Quantization Read(ConfigReader &keys, Problems &problems, std::string_view file);
  // The same of hf_quant_config.json.
  static Quantization ReadModelOptFile(ConfigReader &keys, Problems &problems, std::string_view file);

  const std::string &method() const { return method_; }
  bool IsEmpty() const { return rules_.empty(); }
  // Whether the checkpoint stores floats.
  bool IsOfFloats() const { return is_of_floats_; }
  // Whether the checkpoint is meant for keys and values cached as e4m3, with scales that it stores.
  bool HasFp8Cache() const { return has_fp8_cache_; }
  // How activations are quantized, in words; empty where they stay floats. Notes what is not supported.
  std::string DescribeActivations() const;
  // Changes what the format says of activations.
  void SetActivations(ActivationQuantization choice);
  // The scheme of a matrix by its name in the checkpoint ("model.layers.0.mlp.down_proj"); null where it is stored as
  // floats. `is_head`: it makes the logits.
  const Scheme *SchemeOf(std::string_view module, bool is_head) const;
  // The scale that was found on a text for what the weight `name` is multiplied by, if there is one.
  std::optional<float> InputScaleOf(const std::string &name) const;

private:
  friend class QuantizationReader;
  // Matrices of the layers that a pattern names, all of them without patterns.
  struct Rule {
    ModulePatterns targets;
    Scheme scheme;
  };

  std::string method_;
  std::vector<Rule> rules_; // The first that matches holds.
  ModulePatterns ignored_;
  bool head_ = false; // Whether the head is a matrix like those of the layers.
  bool is_of_floats_ = false;
  bool has_fp8_cache_ = false;
  bool quantizes_on_all_targets_ = false; // Activations; else on GPUs only.
  std::optional<Scheme> head_scheme_;     // Of the head alone.
  std::map<std::string, float> input_scales_;
};

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_QUANTIZATION_H
