// The tensors of a checkpoint that a model reads, with their shapes.

#ifndef INLAY_FRONTENDS_HF_TENSORS_H
#define INLAY_FRONTENDS_HF_TENSORS_H

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "frontends/hf/Config.h"

namespace inlay::hf {

// A tensor of a checkpoint.
struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<std::vector<int64_t>> other_shapes = {}; // That the same elements may have.
  std::vector<std::string_view> dtypes = {};           // Empty: those of floats.
};

// Elements of a few bits in the words of a tensor, as `#llm.fields` has them.
struct WordFields {
  enum class Order { kPlain, kAwq, kHighFirst };
  int64_t bits = 4;
  int64_t word = 32;       // Bits of a word.
  bool along_rows = false; // Neighbours in a word are neighbours in a column; in a row otherwise.
  Order order = Order::kPlain;
  int64_t addend = 0;  // Added to each element.
  bool floats = false; // Elements are e2m1 and become e4m3.
};

// What floats become, as `#llm.quantizer` has it.
struct FloatQuantizer {
  Codes codes = Codes::kF8E4M3;
  int64_t group = 0; // Columns that share a scale.
  bool makes_scales = false;
};

// Bytes that stand for scales, as `#llm.nested` has them.
struct NestedScales {
  TensorSpec table;  // What each of the 256 codes stands for.
  TensorSpec scales; // Of blocks of codes, in the order in which they are stored.
  int64_t block = 0;
  double offset = 0; // Added to each product.
};

// Columns in the order of their groups, as `#llm.column_order` has it.
struct ColumnOrder {
  std::string groups = {}; // Empty: the tensor has the groups, and the order is what is made of it.
  int64_t size = 0;        // Columns of a group.
};

// The rows of a tensor that make a weight, as `#llm.source` has them.
struct WeightSource {
  TensorSpec tensor;
  bool flat = false;                       // The tensor is read as rows of the weight's columns, whatever its shape.
  bool transposed = false;                 // The tensor is [columns, rows].
  std::optional<WordFields> fields = {};   // The tensor holds words.
  int64_t repeat = 0;                      // Rows that each row of the tensor stands for; 0: itself.
  int64_t rows = 0;                        // Of the matrix, where words along the rows or `repeat` may give more.
  double scale = 0;                        // Elements are scales, finite and not 0, times this; 0: they are no scales.
  bool allows_zero = false;                // Of scales.
  std::optional<NestedScales> nested = {}; // The scales are stored as codes.
  std::optional<FloatQuantizer> quantizer = {}; // The tensor holds floats, which become codes or scales.
  int64_t block = 0, offset = 0, count = 0;     // Of each `block` rows, `count` from `offset` on; block 0: all rows.
  bool exponents = false;                       // Of scales: bytes e, which mean 2^(e - 127).
  std::optional<ColumnOrder> column_order = {};
  int64_t head_dim = 0, rotary_dim = 0; // Interleaved rope is put into halves; head_dim 0: rows stay as they are.
};

// Names of the weights that hold scales and zero points of a quantized one, and what they mean.
struct QuantizedForm {
  Codes codes = Codes::kU4;
  std::string scales = {}, zero_points = {}; // Without a name, the zero point is `zero_point`.
  int64_t zero_point = 0;
  int64_t group = 0; // Columns that share a scale.
  ActivationScheme activations = ActivationScheme::kFloats;
  std::string input_scale = {};         // Of kStatic.
  std::string column_order = {};        // The weight with the order of columns; empty: they are in order.
  std::string activation_obstacle = {}; // Of kOther.
  std::string module = {};              // Of the checkpoint.
  std::string scheme = {};              // For people.
  std::string obstacle = {};            // Why the module cannot be stored so: its sizes; empty: it can.
};

// A weight of the model: one tensor, rows of one, several tensors below each other, or a number that is known.
struct WeightSpec {
  std::string name; // That of the tensor, or of a part of it: "h.0.attn.c_attn.q.weight".
  std::vector<int64_t> shape;
  WeightSource source;
  std::vector<WeightSource> more_sources = {}; // Whose rows follow those of `source`.
  bool is_float32 = false;                     // Scales and zero points, whatever type the model has.
  bool is_column_order = false;                // Numbers of columns.
  std::optional<float> value = {};             // Of all elements, instead of sources.
  std::optional<QuantizedForm> quantized = {};
};

// All weights that a model of this configuration reads, in the order of the model.
std::vector<WeightSpec> RequiredWeights(const ModelConfig &config);

// The tensors that they are made of, each once.
std::vector<TensorSpec> RequiredTensors(const ModelConfig &config);

// Whether the head is a weight even where it is tied to the embedding: the quantizer makes another matrix of it.
bool HasHeadBesideEmbedding(const ModelConfig &config);

// Names of the parts of a layer's attention and MLP as weights. Those of a fused tensor are its name with ".q" and so
// on.
struct LayerWeights {
  std::string q, k, v, gate, up; // `gate` is empty in an MLP without one.
};
LayerWeights NamesOfLayer(const ModuleNames &names, size_t layer);

// The name of the weight with a layer's scales of the cache: `scale` is k_scale or v_scale.
std::string CacheScaleName(const ModuleNames &names, size_t layer, std::string_view scale);

// How a checkpoint with these tensors names those of the family: as the family does, without the name of the base model
// before each, or as the text part of a model with a vision part.
std::vector<Renaming> FindRenamings(const Family &family, const std::function<bool(const std::string &)> &has_tensor);

// The name of a tensor or module of the family in the checkpoint.
std::string CheckpointName(const ModelConfig &config, std::string_view name);

// The full name of the module `name` of layer `layer`; empty where the family has no such module.
std::string LayerModule(const ModuleNames &names, std::string_view name, size_t layer);

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_TENSORS_H
