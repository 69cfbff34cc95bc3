//===- Import.cpp - a Hugging Face model as a module of the llm dialect ----===//

#include "frontends/hf/import/Import.h"

#include "dialects/llm/Llm.h"
#include "frontends/hf/import/StoredWeights.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::hf;

namespace {

/// Builds the ops of one module, in the order in which the model computes.
class Importer {
public:
  Importer(MLIRContext &context, const ModelConfig &config)
      : config(config), family(*config.family), names(family.modules), builder(UnknownLoc::get(&context), &context),
        type(elementType()) {}

  OwningOpRef<ModuleOp> build();

private:
  FloatType elementType();
  DictionaryAttr configurationAttr();
  void buildSymbols();
  void buildStep();
  Value buildLayer(size_t layer, Value input);
  Value buildAttention(size_t layer, Value input);
  Value buildMlp(size_t layer, Value input);
  Value buildPositions(Value x);
  Value buildLogits(Value rows);

  /// Sets the location of the next ops.
  void at(const Twine &name) { builder.setLoc(NameLoc::get(builder.getStringAttr(name))); }
  std::string module(std::string_view name, size_t layer) { return LayerModule(names, name, layer); }
  RankedTensorType rows(int64_t columns, Type element = {}) {
    return RankedTensorType::get({ShapedType::kDynamic, columns}, element ? element : Type(type));
  }
  FlatSymbolRefAttr weightOf(StringRef module) {
    return FlatSymbolRefAttr::get(builder.getContext(), (module + ".weight").str());
  }
  FlatSymbolRefAttr biasOf(StringRef module) {
    return FlatSymbolRefAttr::get(builder.getContext(), (module + ".bias").str());
  }
  std::string ropeName(size_t index) { return index == 0 ? "rope" : "rope." + std::to_string(index); }

  /// The columns of `input` in the order of those of the module's weight; `input` itself where both have the same.
  Value gatherColumns(StringRef module, Value input);
  Value buildLinear(const std::string &module, Value input, RankedTensorType result, bool bias);
  /// `input` itself where the family has no such norm.
  Value buildNorm(const std::string &module, Value input);
  Value buildNorm(const std::string &module, Value input, bool bias, IntegerAttr group);
  Value buildQkNorm(size_t layer, std::string_view name, Value input);
  Value buildRope(size_t layer, StringRef which, std::optional<size_t> rope, Value input);
  Value buildScale(const std::string &name, Value input, double factor); ///< `input` itself when `factor` is 1.
  Value buildResidual(const std::string &module, Value residual, Value input);

  const ModelConfig &config;
  const Family &family;
  const ModuleNames &names;
  ImplicitLocOpBuilder builder;
  FloatType type;
  Value batch, cache;
  std::map<std::string, std::string> columnOrders; ///< Weight to the weight with the order of its columns.
  DenseMap<std::pair<Value, StringRef>, Value> gatheredColumns;
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
  for (const WeightSpec &weight : RequiredWeights(config)) {
    at(weight.name);
    if (weight.quantized && !weight.quantized->column_order.empty())
      columnOrders[weight.name] = weight.quantized->column_order;
    SmallVector<Attribute> sources;
    if (!weight.value)
      sources.push_back(sourceAttr(builder, weight.source));
    for (const WeightSource &source : weight.more_sources)
      sources.push_back(sourceAttr(builder, source));
    auto tensor = RankedTensorType::get(weight.shape, storedType(weight, type));
    llm::WeightOp::create(builder, weight.name, tensor, weight.value ? ArrayAttr() : builder.getArrayAttr(sources),
                          llm::RowOrder::Plain, llm::Packing::RowMajor, IntegerAttr(),
                          weight.value ? cast<ElementsAttr>(DenseElementsAttr::get(tensor, *weight.value))
                                       : ElementsAttr(),
                          quantizedAttr(builder, weight));
  }
  for (size_t i = 0; i < config.ropes.size(); ++i) {
    at(ropeName(i));
    const RopeFrequencies &rope = config.ropes[i];
    int64_t rows = rope.short_length + config.max_model_len;
    auto table = RankedTensorType::get({rows, config.rotary_dim}, builder.getF32Type());
    llm::RopeTableOp::create(builder, ropeName(i), table, rope.inv_freq, llvm::APFloat(rope.attention_factor),
                             rope.short_length, llvm::APFloat(rope.temperature_beta), rope.temperature_length);
  }
}

void Importer::buildStep() {
  at("step");
  MLIRContext *context = builder.getContext();
  auto ids = RankedTensorType::get({ShapedType::kDynamic}, builder.getI32Type());
  auto logitsType = rows(config.vocab_size, builder.getF32Type());
  auto batchType = llm::BatchType::get(context);
  auto codes = config.fp8_cache ? Type(Float8E4M3FNType::get(context)) : Type();
  auto cacheType = llm::KvCacheType::get(context, codes);
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
  Value x = llm::EmbeddingOp::create(builder, rows(config.embedding_size), tokens, weightOf(embedding),
                                     builder.getF64FloatAttr(config.embedding_scale));
  if (config.embedding_size != config.hidden_size)
    x = buildLinear(std::string(names.project_in), x, rows(config.hidden_size), /*bias=*/false);
  x = buildNorm(std::string(names.embedding_norm), x);
  if (family.positions == Positions::kLearned)
    x = buildPositions(x);
  for (size_t layer = 0; layer < config.layers.size(); ++layer)
    x = buildLayer(layer, x);
  at("gather_rows");
  x = llm::GatherRowsOp::create(builder, rows(config.hidden_size), x, batch);
  if (config.norms_before)
    x = buildNorm(std::string(names.final_norm), x);
  if (config.embedding_size != config.hidden_size)
    x = buildLinear(std::string(names.project_out), x, rows(config.embedding_size), /*bias=*/false);
  Value logits = buildLogits(x);
  at("sample");
  Value next = llm::SampleOp::create(builder, ids, logits, batch);
  func::ReturnOp::create(builder, ValueRange{logits, next, cache});
}

Value Importer::buildPositions(Value x) {
  std::string positions(names.positions);
  at(positions);
  Value table = llm::PositionEmbeddingOp::create(builder, x.getType(), batch, weightOf(positions),
                                                 builder.getI64IntegerAttr(family.position_offset));
  at(positions + ".add");
  return llm::AddOp::create(builder, x, table);
}

Value Importer::buildLogits(Value rows) {
  // The head of a tied model is its embedding, or a quantized copy of it.
  bool isEmbedding = config.tie_word_embeddings && !HasHeadBesideEmbedding(config);
  std::string head(isEmbedding ? names.embedding : names.lm_head);
  at(StringRef(names.lm_head));
  auto type = RankedTensorType::get({ShapedType::kDynamic, config.vocab_size}, builder.getF32Type());
  FlatSymbolRefAttr bias = config.head_bias ? biasOf(StringRef(names.lm_head)) : FlatSymbolRefAttr();
  rows = gatherColumns(head, rows);
  at(StringRef(names.lm_head));
  Value logits = llm::LinearOp::create(builder, TypeRange{type}, rows, /*scales=*/Value(), /*squares=*/Value(),
                                       weightOf(head), bias, StringAttr(), FloatAttr())
                     .getResult(0);
  logits = buildScale("logits_multiplier", logits, config.logits_scale);
  if (!config.logits_softcap)
    return logits;
  at("logits_softcap");
  return llm::SoftcapOp::create(builder, type, logits, builder.getF64FloatAttr(*config.logits_softcap));
}

Value Importer::buildLayer(size_t layer, Value input) {
  std::string attention = module(names.attention, layer), mlp = module(names.mlp, layer);
  if (!config.norms_before) {
    Value x = buildResidual(attention, input, buildAttention(layer, input));
    x = buildNorm(module(names.attention_norm, layer), x);
    return buildNorm(module(names.mlp_norm, layer), buildResidual(mlp, x, buildMlp(layer, x)));
  }
  Value normed = buildNorm(module(names.attention_norm, layer), input);
  Value attended = buildNorm(module(names.attention_post_norm, layer), buildAttention(layer, normed));
  Value x = buildResidual(attention, input, attended);
  if (!config.parallel)
    normed = buildNorm(module(names.mlp_norm, layer), x);
  else if (!family.parallel_shares_norm)
    normed = buildNorm(module(names.mlp_norm, layer), input);
  Value out = buildNorm(module(names.mlp_post_norm, layer), buildMlp(layer, normed));
  return buildResidual(mlp, x, out);
}

Value Importer::buildAttention(size_t layer, Value x) {
  const int64_t queries = config.heads * config.head_dim, keys = config.kv_heads * config.head_dim;
  const LayerWeights weights = NamesOfLayer(names, layer);
  Value q = buildLinear(weights.q, x, rows(queries), config.qkv_bias);
  Value k = buildLinear(weights.k, x, rows(keys), config.qkv_bias);
  Value v = buildLinear(weights.v, x, rows(keys), config.qkv_bias);
  const bool normAfterRope = family.qk_norm.after_rope;
  if (!normAfterRope) {
    q = buildQkNorm(layer, names.q_norm, q);
    k = buildQkNorm(layer, names.k_norm, k);
  }
  q = buildRope(layer, "q_rope", config.layers[layer].query_rope, q);
  k = buildRope(layer, "k_rope", config.layers[layer].rope, k);
  if (normAfterRope) {
    q = buildQkNorm(layer, names.q_norm, q);
    k = buildQkNorm(layer, names.k_norm, k);
  }

  std::string attention = module(names.attention, layer);
  at(attention + ".kv_append");
  auto scaleOf = [&](StringRef name, const CacheScale &scale) {
    return scale.tensor.empty() ? FlatSymbolRefAttr()
                                : FlatSymbolRefAttr::get(builder.getContext(), CacheScaleName(names, layer, name));
  };
  FlatSymbolRefAttr keyScale = scaleOf("k_scale", config.layers[layer].key_scale);
  FlatSymbolRefAttr valueScale = scaleOf("v_scale", config.layers[layer].value_scale);
  cache = llm::KvAppendOp::create(builder, cache.getType(), cache, k, v, batch, layer, config.head_dim, keyScale,
                                  valueScale);
  at(attention);
  const std::optional<int64_t> &window = config.layers[layer].window;
  const std::optional<double> &softcap = config.attention_softcap;
  Value attended = llm::PagedAttentionOp::create(
      builder, rows(queries), q, cache, batch, builder.getI64IntegerAttr(layer),
      builder.getI64IntegerAttr(config.heads), builder.getI64IntegerAttr(config.kv_heads),
      builder.getI64IntegerAttr(config.head_dim), builder.getF64FloatAttr(config.attention_scale),
      window ? builder.getI64IntegerAttr(*window) : IntegerAttr(),
      softcap ? builder.getF64FloatAttr(*softcap) : FloatAttr(),
      config.alibi.empty() ? DenseF64ArrayAttr() : builder.getDenseF64ArrayAttr(config.alibi), FlatSymbolRefAttr(),
      keyScale, valueScale);
  return buildLinear(module(names.o, layer), attended, rows(config.hidden_size), config.output_bias);
}

static llm::Activation activationOf(Activation activation) {
  switch (activation) {
  case Activation::kSilu:
    return llm::Activation::Silu;
  case Activation::kGelu:
    return llm::Activation::Gelu;
  case Activation::kGeluTanh:
    return llm::Activation::GeluTanh;
  case Activation::kRelu:
    return llm::Activation::Relu;
  case Activation::kRelu2:
    return llm::Activation::Relu2;
  }
  llvm_unreachable("every activation is a case");
}

Value Importer::buildMlp(size_t layer, Value x) {
  RankedTensorType inner = rows(config.intermediate_size);
  llm::Activation kind = activationOf(config.activation);
  const LayerWeights weights = NamesOfLayer(names, layer);
  const bool isGated = !weights.gate.empty();
  Value gate = isGated ? buildLinear(weights.gate, x, inner, config.mlp_bias) : Value();
  Value up = buildLinear(weights.up, x, inner, config.mlp_bias);
  at(module(names.mlp, layer) + ".activation");
  Value h = isGated ? llm::GatedActivationOp::create(builder, inner, gate, up, kind).getResult()
                    : llm::ActivationOp::create(builder, inner, up, kind).getResult();
  return buildLinear(module(names.down, layer), h, rows(config.hidden_size), config.mlp_bias);
}

Value Importer::buildResidual(const std::string &module, Value residual, Value input) {
  input = buildScale(module + ".residual_multiplier", input, config.residual_scale);
  at(module + ".residual");
  return llm::AddOp::create(builder, residual, input);
}

Value Importer::gatherColumns(StringRef module, Value input) {
  auto found = columnOrders.find((module + ".weight").str());
  if (found == columnOrders.end())
    return input;
  Value &gathered = gatheredColumns[{input, found->second}];
  if (!gathered) {
    at(module + ".gather_columns");
    gathered = llm::GatherColumnsOp::create(builder, input.getType(), input,
                                            FlatSymbolRefAttr::get(builder.getContext(), found->second));
  }
  return gathered;
}

Value Importer::buildLinear(const std::string &module, Value input, RankedTensorType result, bool bias) {
  input = gatherColumns(module, input);
  at(module);
  return llm::LinearOp::create(builder, TypeRange{result}, input, /*scales=*/Value(), /*squares=*/Value(),
                               weightOf(module), bias ? biasOf(module) : FlatSymbolRefAttr(), StringAttr(), FloatAttr())
      .getResult(0);
}

Value Importer::buildNorm(const std::string &module, Value input) {
  return module.empty() ? input : buildNorm(module, input, family.norm.bias, IntegerAttr());
}

Value Importer::buildNorm(const std::string &module, Value input, bool bias, IntegerAttr group) {
  at(module);
  const NormStyle &style = family.norm;
  auto eps = builder.getF64FloatAttr(config.norm_eps), offset = builder.getF64FloatAttr(style.weight_offset);
  FlatSymbolRefAttr weight = style.weight ? weightOf(module) : FlatSymbolRefAttr();
  if (!style.centered)
    return llm::RmsNormOp::create(builder, input.getType(), input, weight, eps, group, offset);
  return llm::LayerNormOp::create(builder, input.getType(), input, weight, bias ? biasOf(module) : FlatSymbolRefAttr(),
                                  eps, group, offset);
}

Value Importer::buildScale(const std::string &name, Value input, double factor) {
  if (factor == 1.0)
    return input;
  at(name);
  return llm::ScaleOp::create(builder, input.getType(), input, builder.getF64FloatAttr(factor));
}

Value Importer::buildQkNorm(size_t layer, std::string_view name, Value input) {
  if (config.qk_norm == QkNorm::kNone)
    return input;
  IntegerAttr group = config.qk_norm == QkNorm::kRow ? IntegerAttr() : builder.getI64IntegerAttr(config.head_dim);
  return buildNorm(module(name, layer), input, family.qk_norm.bias, group);
}

Value Importer::buildRope(size_t layer, StringRef which, std::optional<size_t> rope, Value input) {
  if (!rope)
    return input;
  at(module(names.attention, layer) + "." + which);
  auto table = FlatSymbolRefAttr::get(builder.getContext(), ropeName(*rope));
  return llm::RopeOp::create(builder, input.getType(), input, batch, table, builder.getI64IntegerAttr(config.head_dim));
}

} // namespace

OwningOpRef<ModuleOp> inlay::hf::importHuggingFace(MLIRContext &context, const ModelConfig &config) {
  context.loadDialect<llm::LlmDialect, func::FuncDialect>();
  return Importer(context, config).build();
}
