//===- StoredWeights.cpp - how a checkpoint stores weights, as attributes --===//

#include "frontends/hf/import/StoredWeights.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::hf;

static llm::FieldOrder orderOf(WordFields::Order order) {
  switch (order) {
  case WordFields::Order::kPlain:
    return llm::FieldOrder::Plain;
  case WordFields::Order::kAwq:
    return llm::FieldOrder::Awq;
  case WordFields::Order::kHighFirst:
    return llm::FieldOrder::HighFirst;
  }
  llvm_unreachable("every order is a case");
}

static llm::Codes codesOf(Codes codes) {
  switch (codes) {
  case Codes::kU4:
    return llm::Codes::U4;
  case Codes::kNf4:
    return llm::Codes::Nf4;
  case Codes::kU8:
    return llm::Codes::U8;
  case Codes::kI8:
    return llm::Codes::I8;
  case Codes::kF8E4M3:
    return llm::Codes::F8E4M3;
  }
  llvm_unreachable("every meaning of codes is a case");
}

/// What the floats of a source become; null where they stay what they are.
static llm::QuantizerAttr quantizerAttr(Builder &builder, const WeightSource &source) {
  if (!source.quantizer)
    return {};
  return llm::QuantizerAttr::get(builder.getContext(), codesOf(source.quantizer->codes), source.quantizer->group,
                                 source.quantizer->makes_scales);
}

/// How the elements of a quantized source are stored; null where they are stored one by one.
static llm::StorageAttr storageAttr(Builder &builder, const WeightSource &source) {
  if (!source.flat && !source.fields && source.repeat == 0 && source.scale == 0 && !source.quantizer &&
      !source.column_order)
    return {};
  llm::NestedAttr nested;
  if (source.nested)
    nested = llm::NestedAttr::get(builder.getContext(), builder.getStringAttr(source.nested->table.name),
                                  builder.getStringAttr(source.nested->scales.name), source.nested->block,
                                  builder.getF64FloatAttr(source.nested->offset));
  llm::ColumnOrderAttr columnOrder;
  if (const std::optional<ColumnOrder> &order = source.column_order)
    columnOrder = llm::ColumnOrderAttr::get(
        builder.getContext(), order->groups.empty() ? StringAttr() : builder.getStringAttr(order->groups), order->size);
  WordFields fields = source.fields.value_or(WordFields{.bits = 0});
  return llm::StorageAttr::get(builder.getContext(), source.flat, fields.bits, fields.word, fields.along_rows,
                               orderOf(fields.order), fields.addend, source.repeat, source.rows,
                               source.scale == 0 ? FloatAttr() : builder.getF64FloatAttr(source.scale),
                               source.allows_zero, nested, quantizerAttr(builder, source), fields.floats,
                               source.exponents, columnOrder);
}

Attribute inlay::hf::sourceAttr(Builder &builder, const WeightSource &source) {
  llm::StorageAttr storage = storageAttr(builder, source);
  if (!source.transposed && source.block == 0 && source.head_dim == 0 && !storage)
    return builder.getStringAttr(source.tensor.name);
  return llm::SourceAttr::get(builder.getContext(), source.tensor.name, source.transposed, source.block, source.offset,
                              source.count, source.head_dim, source.rotary_dim, storage);
}

llm::QuantizedAttr inlay::hf::quantizedAttr(Builder &builder, const WeightSpec &weight) {
  if (!weight.quantized)
    return {};
  const QuantizedForm &form = *weight.quantized;
  auto symbol = [&](const std::string &name) { return FlatSymbolRefAttr::get(builder.getContext(), name); };
  constexpr int64_t group = 128; // of kGroups
  llm::ActivationsAttr activations;
  if (form.activations != ActivationScheme::kFloats && form.activations != ActivationScheme::kOther)
    activations = llm::ActivationsAttr::get(builder.getContext(), codesOf(form.codes),
                                            form.activations == ActivationScheme::kGroups ? group : 0,
                                            form.input_scale.empty() ? FlatSymbolRefAttr() : symbol(form.input_scale));
  return llm::QuantizedAttr::get(
      builder.getContext(), codesOf(form.codes), symbol(form.scales),
      form.zero_points.empty() ? FlatSymbolRefAttr() : symbol(form.zero_points), form.zero_point, form.group,
      activations,
      form.activations == ActivationScheme::kOther ? builder.getStringAttr(form.activation_obstacle) : StringAttr());
}

Type inlay::hf::storedType(const WeightSpec &weight, FloatType type) {
  if (weight.is_float32)
    return Float32Type::get(type.getContext());
  if (weight.is_column_order)
    return IntegerType::get(type.getContext(), 32);
  if (!weight.quantized)
    return type;
  switch (weight.quantized->codes) {
  case Codes::kU4:
  case Codes::kNf4:
    return IntegerType::get(type.getContext(), 4);
  case Codes::kU8:
  case Codes::kI8:
    return IntegerType::get(type.getContext(), 8);
  case Codes::kF8E4M3:
    return Float8E4M3FNType::get(type.getContext());
  }
  llvm_unreachable("every meaning of codes is a case");
}
