//===- Import.cpp - a Hugging Face model as a module of the llm dialect ----===//

#include "frontends/hf/import/Import.h"

#include "dialects/llm/Llm.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

#include <cmath>

using namespace mlir;
using namespace inlay;
using namespace inlay::hf;

namespace {

/// Builds the ops of one module, in the order in which the model computes.
class Importer {
public:
  Importer(MLIRContext &context, const ModelConfig &config)
      : config(config), names(*config.family->modules), builder(UnknownLoc::get(&context), &context),
        type(elementType()) {}

  OwningOpRef<ModuleOp> build();

private:
  FloatType elementType();
  DictionaryAttr configurationAttr();
  void buildSymbols();
  void buildStep();
  Value buildAttention(size_t layer, Value input);
  Value buildMlp(size_t layer, Value input);

  /// Sets the location of the next ops.
  void at(const Twine &name) { builder.setLoc(NameLoc::get(builder.getStringAttr(name))); }
  std::string module(std::string_view pattern, size_t layer) { return LayerModule(pattern, layer); }
  RankedTensorType rows(int64_t columns, Type element = {}) {
    return RankedTensorType::get({ShapedType::kDynamic, columns}, element ? element : Type(type));
  }
  FlatSymbolRefAttr weightOf(StringRef module) {
    return FlatSymbolRefAttr::get(builder.getContext(), (module + ".weight").str());
  }
  std::string ropeName(size_t index) { return index == 0 ? "rope" : "rope." + std::to_string(index); }

  Value buildLinear(const std::string &module, Value input, RankedTensorType result, bool bias);
  Value buildNorm(const std::string &module, Value input, bool perHead = false);
  Value buildRope(size_t layer, StringRef which, Value input);

  const ModelConfig &config;
  const ModuleNames &names;
  ImplicitLocOpBuilder builder;
  FloatType type;
  Value batch, cache;
};

FloatType Importer::elementType() {
  switch (config.dtype) {
  case DType::kBFloat16:
    return builder.getBF16Type();
  case DType::kFloat16:
    return builder.getF16Type();
  case DType::kFloat32:
    return builder.getF32Type();
  }
  llvm_unreachable("every type is a case");
}

DictionaryAttr Importer::configurationAttr() {
  NamedAttrList attributes;
  auto add = [&](StringRef name, int64_t value) { attributes.append(name, builder.getI64IntegerAttr(value)); };
  attributes.append("architecture", builder.getStringAttr(config.family->model_type));
  attributes.append("dtype", builder.getStringAttr(DTypeName(config.dtype)));
  add("vocab_size", config.vocab_size);
  add("hidden_size", config.hidden_size);
  add("intermediate_size", config.intermediate_size);
  add("layers", config.layers.size());
  add("heads", config.heads);
  add("kv_heads", config.kv_heads);
  add("head_dim", config.head_dim);
  add("max_model_len", config.max_model_len);
  attributes.append("tie_word_embeddings", builder.getBoolAttr(config.tie_word_embeddings));
  if (config.bos)
    add("bos_token_id", *config.bos);
  attributes.append("eos_token_ids", builder.getDenseI64ArrayAttr(config.eos));
  return attributes.getDictionary(builder.getContext());
}

OwningOpRef<ModuleOp> Importer::build() {
  at(StringRef(config.family->architecture));
  OwningOpRef<ModuleOp> module = ModuleOp::create(builder.getLoc());
  (*module)->setAttr("llm.model", configurationAttr());
  builder.setInsertionPointToStart(module->getBody());
  buildSymbols();
  buildStep();
  return module;
}

void Importer::buildSymbols() {
  for (const TensorSpec &tensor : RequiredTensors(config)) {
    at(tensor.name);
    llm::WeightOp::create(builder, tensor.name, RankedTensorType::get(tensor.shape, type),
                          builder.getStrArrayAttr({StringRef(tensor.name)}), llm::RowOrder::Plain,
                          llm::Packing::RowMajor, IntegerAttr(), ElementsAttr());
  }
  for (size_t i = 0; i < config.ropes.size(); ++i) {
    at(ropeName(i));
    auto table = RankedTensorType::get({config.max_model_len, config.head_dim}, builder.getF32Type());
    llm::RopeTableOp::create(builder, ropeName(i), table, config.ropes[i].inv_freq,
                             llvm::APFloat(config.ropes[i].attention_factor));
  }
}

void Importer::buildStep() {
  at("step");
  MLIRContext *context = builder.getContext();
  auto ids = RankedTensorType::get({ShapedType::kDynamic}, builder.getI32Type());
  auto logitsType = rows(config.vocab_size, builder.getF32Type());
  auto batchType = llm::BatchType::get(context);
  auto cacheType = llm::KvCacheType::get(context);
  auto step = func::FuncOp::create(builder, "step",
                                   builder.getFunctionType({ids, batchType, cacheType}, {logitsType, ids, cacheType}));
  Block *body = step.addEntryBlock();
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(body);
  Value tokens = body->getArgument(0);
  batch = body->getArgument(1);
  cache = body->getArgument(2);

  std::string embedding(names.embedding);
  at(embedding);
  Value x = llm::EmbeddingOp::create(builder, rows(config.hidden_size), tokens, weightOf(embedding),
                                     builder.getF64FloatAttr(1.0));
  for (size_t layer = 0; layer < config.layers.size(); ++layer) {
    x = buildAttention(layer, x);
    x = buildMlp(layer, x);
  }
  at("gather_rows");
  x = llm::GatherRowsOp::create(builder, rows(config.hidden_size), x, batch);
  x = buildNorm(std::string(names.final_norm), x);

  // The head of a tied model is its embedding.
  at(StringRef(names.lm_head));
  FlatSymbolRefAttr head = weightOf(config.tie_word_embeddings ? names.embedding : names.lm_head);
  Value logits =
      llm::LinearOp::create(builder, TypeRange{logitsType}, x, head, FlatSymbolRefAttr(), StringAttr()).getResult(0);
  at("sample");
  Value next = llm::SampleOp::create(builder, ids, logits, batch);
  func::ReturnOp::create(builder, ValueRange{logits, next, cache});
}

Value Importer::buildAttention(size_t layer, Value input) {
  const int64_t queries = config.heads * config.head_dim, keys = config.kv_heads * config.head_dim;
  Value x = buildNorm(module(names.input_norm, layer), input);
  Value q = buildLinear(module(names.q, layer), x, rows(queries), config.qkv_bias);
  Value k = buildLinear(module(names.k, layer), x, rows(keys), config.qkv_bias);
  Value v = buildLinear(module(names.v, layer), x, rows(keys), config.qkv_bias);
  if (config.family->qk_norm) {
    q = buildNorm(module(names.q_norm, layer), q, /*perHead=*/true);
    k = buildNorm(module(names.k_norm, layer), k, /*perHead=*/true);
  }
  q = buildRope(layer, "q_rope", q);
  k = buildRope(layer, "k_rope", k);

  std::string attention = module(names.attention, layer);
  at(attention + ".kv_append");
  cache = llm::KvAppendOp::create(builder, cache.getType(), cache, k, v, batch, layer, config.head_dim);
  at(attention);
  const std::optional<int64_t> &window = config.layers[layer].window;
  double scale = 1.0 / std::sqrt(static_cast<double>(config.head_dim));
  Value attended =
      llm::PagedAttentionOp::create(builder, rows(queries), q, cache, batch, builder.getI64IntegerAttr(layer),
                                    builder.getI64IntegerAttr(config.heads), builder.getI64IntegerAttr(config.kv_heads),
                                    builder.getI64IntegerAttr(config.head_dim), builder.getF64FloatAttr(scale),
                                    window ? builder.getI64IntegerAttr(*window) : IntegerAttr(), FloatAttr(),
                                    DenseF64ArrayAttr(), FlatSymbolRefAttr());
  Value out = buildLinear(module(names.o, layer), attended, rows(config.hidden_size), config.output_bias);
  at(attention + ".residual");
  return llm::AddOp::create(builder, input, out);
}

Value Importer::buildMlp(size_t layer, Value input) {
  std::string mlp = module(names.mlp, layer);
  Value x = buildNorm(module(names.post_attention_norm, layer), input);
  Value gate = buildLinear(module(names.gate, layer), x, rows(config.intermediate_size), config.mlp_bias);
  Value up = buildLinear(module(names.up, layer), x, rows(config.intermediate_size), config.mlp_bias);
  at(mlp + ".activation");
  llm::Activation kind = config.activation == Activation::kSilu   ? llm::Activation::Silu
                         : config.activation == Activation::kGelu ? llm::Activation::Gelu
                                                                  : llm::Activation::GeluTanh;
  Value h = llm::GatedActivationOp::create(builder, gate.getType(), gate, up, kind);
  Value out = buildLinear(module(names.down, layer), h, rows(config.hidden_size), config.mlp_bias);
  at(mlp + ".residual");
  return llm::AddOp::create(builder, input, out);
}

Value Importer::buildLinear(const std::string &module, Value input, RankedTensorType result, bool bias) {
  at(module);
  auto biasRef = bias ? FlatSymbolRefAttr::get(builder.getContext(), module + ".bias") : FlatSymbolRefAttr();
  return llm::LinearOp::create(builder, TypeRange{result}, input, weightOf(module), biasRef, StringAttr()).getResult(0);
}

Value Importer::buildNorm(const std::string &module, Value input, bool perHead) {
  at(module);
  return llm::RmsNormOp::create(
      builder, input.getType(), input, weightOf(module), builder.getF64FloatAttr(config.rms_norm_eps),
      perHead ? builder.getI64IntegerAttr(config.head_dim) : IntegerAttr(), builder.getF64FloatAttr(0.0));
}

Value Importer::buildRope(size_t layer, StringRef which, Value input) {
  at(module(names.attention, layer) + "." + which);
  auto table = FlatSymbolRefAttr::get(builder.getContext(), ropeName(config.layers[layer].rope));
  return llm::RopeOp::create(builder, input.getType(), input, batch, table, builder.getI64IntegerAttr(config.head_dim));
}

} // namespace

OwningOpRef<ModuleOp> inlay::hf::importHuggingFace(MLIRContext &context, const ModelConfig &config) {
  context.loadDialect<llm::LlmDialect, func::FuncDialect>();
  return Importer(context, config).build();
}
