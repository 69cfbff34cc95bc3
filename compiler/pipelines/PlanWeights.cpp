//===- PlanWeights.cpp - the plan's description of a weight ----------------===//

#include "compiler/pipelines/PlanWeights.h"

#include "compiler/pipelines/PlanTypes.h"
#include "dialects/llm/Llm.h"
#include "dialects/tile/Tile.h"

using namespace mlir;
using namespace inlay;

/// The type that the codes of a quantized weight are stored as.
static plan::DataType dataTypeOf(llm::Codes codes) {
  switch (codes) {
  case llm::Codes::U4:
  case llm::Codes::Nf4:
    return plan::DataType_U4;
  case llm::Codes::U8:
    return plan::DataType_U8;
  case llm::Codes::I8:
    return plan::DataType_I8;
  case llm::Codes::F8E4M3:
    return plan::DataType_F8E4M3;
  }
  llvm_unreachable("every meaning of codes is a case");
}

static plan::FieldOrder orderOf(llm::FieldOrder order) {
  switch (order) {
  case llm::FieldOrder::Plain:
    return plan::FieldOrder_Plain;
  case llm::FieldOrder::Awq:
    return plan::FieldOrder_Awq;
  case llm::FieldOrder::HighFirst:
    return plan::FieldOrder_HighFirst;
  }
  llvm_unreachable("every order is a case");
}

/// Adds the steps that say how the tensor of `source` stores a matrix.
static void buildStorage(flatbuffers::FlatBufferBuilder &fb, llm::SourceAttr source,
                         std::vector<flatbuffers::Offset<plan::RecipeStep>> &steps) {
  llm::StorageAttr storage = source.getStorage();
  if (storage && storage.getFlat())
    steps.push_back(plan::CreateRecipeStep(fb, plan::RecipeOp_Reshape));
  if (source.getTransposed())
    steps.push_back(plan::CreateRecipeStep(fb, plan::RecipeOp_Transpose));
  if (!storage)
    return;
  plan::DataType field = storage.getFloats()      ? plan::DataType_F4E2M1
                         : storage.getBits() == 4 ? plan::DataType_U4
                                                  : plan::DataType_U8;
  if (storage.getBits())
    steps.push_back(plan::CreateRecipeStep(fb, plan::RecipeOp_Unpack, /*block=*/storage.getWord(), /*offset=*/0,
                                           /*count=*/storage.getRows(), /*parts=*/0,
                                           storage.getAlongRows() ? plan::Axis_Rows : plan::Axis_Columns, field,
                                           orderOf(storage.getOrder()), static_cast<int32_t>(storage.getAddend())));
  if (storage.getRepeat())
    steps.push_back(
        plan::CreateRecipeStep(fb, plan::RecipeOp_Repeat, storage.getRepeat(), /*offset=*/0, storage.getRows()));
  if (llm::QuantizerAttr quantizer = storage.getQuantizer()) {
    plan::RecipeStepBuilder step(fb);
    step.add_op(quantizer.getMakesScales() ? plan::RecipeOp_QuantizeScales : plan::RecipeOp_Quantize);
    step.add_type(dataTypeOf(quantizer.getCodes()));
    step.add_block(quantizer.getGroup());
    steps.push_back(step.Finish());
  }
  if (llm::NestedAttr nested = storage.getNested()) {
    auto table = fb.CreateString(nested.getTable().str()), scales = fb.CreateString(nested.getScales().str());
    plan::RecipeStepBuilder step(fb);
    step.add_op(plan::RecipeOp_Nested);
    step.add_block(nested.getBlock());
    step.add_factor(nested.getOffset().getValueAsDouble());
    step.add_table(table);
    step.add_scales(scales);
    steps.push_back(step.Finish());
  }
  if (FloatAttr scale = storage.getScale()) {
    plan::RecipeStepBuilder step(fb);
    step.add_op(plan::RecipeOp_Scale);
    step.add_factor(scale.getValueAsDouble());
    step.add_allows_zero(storage.getAllowsZero());
    if (storage.getExponents())
      step.add_type(plan::DataType_F8E8M0);
    steps.push_back(step.Finish());
  }
  if (llm::ColumnOrderAttr order = storage.getColumnOrder()) {
    flatbuffers::Offset<flatbuffers::String> groups;
    if (order.getGroups())
      groups = fb.CreateString(order.getGroups().str());
    plan::RecipeStepBuilder step(fb);
    step.add_op(order.getGroups() ? plan::RecipeOp_SortColumns : plan::RecipeOp_ColumnOrder);
    step.add_block(order.getSize());
    step.add_table(groups);
    steps.push_back(step.Finish());
  }
}

static flatbuffers::Offset<plan::Source> buildSource(flatbuffers::FlatBufferBuilder &fb, llm::SourceAttr source) {
  std::vector<flatbuffers::Offset<plan::RecipeStep>> steps;
  buildStorage(fb, source, steps);
  if (source.getBlock())
    steps.push_back(
        plan::CreateRecipeStep(fb, plan::RecipeOp_Slice, source.getBlock(), source.getOffset(), source.getCount()));
  if (source.getHeadDim())
    steps.push_back(plan::CreateRecipeStep(fb, plan::RecipeOp_Permute, source.getHeadDim(), /*offset=*/0,
                                           source.getRotaryDim(), /*parts=*/source.getRotaryDim() / 2));
  if (llm::ShardAttr shard = source.getShard())
    steps.push_back(plan::CreateRecipeStep(fb, plan::RecipeOp_Shard, /*block=*/0, /*offset=*/shard.getIndex() + 1,
                                           /*count=*/shard.getSize(), shard.getParts(),
                                           shard.getAxis() == llm::Axis::Rows ? plan::Axis_Rows : plan::Axis_Columns));
  return plan::CreateSourceDirect(fb, source.getName().str().c_str(), steps.empty() ? nullptr : &steps);
}

/// Describes the codes of a quantized weight. `indices` has the weights with its scales and zero points.
static flatbuffers::Offset<plan::Quantization> buildQuantization(flatbuffers::FlatBufferBuilder &fb,
                                                                 llm::WeightOp weight,
                                                                 const DenseMap<Operation *, uint32_t> &indices) {
  llm::QuantizedAttr quantized = weight.getQuantizedAttr();
  auto scaleOf = [&](FlatSymbolRefAttr name) {
    auto op = SymbolTable::lookupNearestSymbolFrom<llm::WeightOp>(weight, name);
    return plan::Scale(indices.lookup(op), /*rows=*/1, static_cast<uint32_t>(quantized.getGroup()));
  };
  std::vector<plan::Scale> scales{scaleOf(quantized.getScales())};
  plan::Scale zeroPoints;
  if (quantized.getZeroPoints())
    zeroPoints = scaleOf(quantized.getZeroPoints());
  return plan::CreateQuantizationDirect(fb, &scales, static_cast<int32_t>(quantized.getZeroPoint()),
                                        quantized.getZeroPoints() ? &zeroPoints : nullptr);
}

FailureOr<flatbuffers::Offset<plan::Weight>> inlay::buildWeight(flatbuffers::FlatBufferBuilder &fb, Operation *op,
                                                                uint64_t &fileOffset, uint32_t stage,
                                                                flatbuffers::Offset<plan::Launch> pack,
                                                                plan::DataType sourceType,
                                                                const DenseMap<Operation *, uint32_t> &indices) {
  RankedTensorType type;
  std::vector<flatbuffers::Offset<plan::Source>> sources;
  std::vector<double> inverseFrequencies;
  std::vector<float> values;
  double attentionFactor = 1.0, temperatureBeta = 0.0;
  uint32_t shortRows = 0, temperatureLength = 1;
  auto order = plan::RowOrder_Plain;
  auto packing = plan::Packing_RowMajor;
  uint32_t headDim = 0;
  if (auto table = dyn_cast<llm::RopeTableOp>(op)) {
    type = cast<RankedTensorType>(table.getType());
    inverseFrequencies.assign(table.getInvFreq().begin(), table.getInvFreq().end());
    attentionFactor = table.getAttentionFactor().convertToDouble();
    shortRows = table.getShortRows();
    temperatureBeta = table.getTemperatureBeta().convertToDouble();
    temperatureLength = table.getTemperatureLength();
  } else {
    auto weight = cast<llm::WeightOp>(op);
    type = weight.getTensorType();
    if (weight.getValue() && !type.getElementType().isF32())
      return weight.emitError() << "has inline contents of " << type.getElementType()
                                << ", which a bundle cannot hold; expected sources, or contents of f32";
    if (weight.getValue())
      for (const llvm::APFloat &element : weight.getValue()->getValues<llvm::APFloat>())
        values.push_back(element.convertToFloat());
    else
      for (Attribute source : weight.getSourcesAttr())
        sources.push_back(buildSource(fb, llm::SourceAttr::of(source)));
    order = static_cast<plan::RowOrder>(weight.getRowOrder());
    packing = static_cast<plan::Packing>(weight.getPacking());
    headDim = weight.getHeadDim().value_or(0);
  }
  auto weight = dyn_cast<llm::WeightOp>(op);
  llm::QuantizedAttr quantized = weight ? weight.getQuantizedAttr() : llm::QuantizedAttr();
  // Of integers there are orders of columns alone.
  FailureOr<plan::DataType> elements = quantized                             ? dataTypeOf(quantized.getCodes())
                                       : type.getElementType().isInteger(32) ? FailureOr(plan::DataType_I32)
                                                                             : planTypeOf(op, type.getElementType());
  if (failed(elements))
    return failure();
  uint64_t rows = type.getDimSize(0), columns = type.getRank() == 2 ? type.getDimSize(1) : 1;
  uint64_t bytes = rows * columns * type.getElementTypeBitWidth() / 8;
  if (packing == plan::Packing_Atom8x64)
    bytes = llvm::alignTo(rows, 8) * llvm::alignTo(columns, 64) * type.getElementTypeBitWidth() / 8;
  else if (packing != plan::Packing_RowMajor)
    bytes = llvm::alignTo(rows, tile::kUnitRows) *
            (packing == plan::Packing_Codes16x128 ? llvm::alignTo(columns, tile::kUnitColumns) : columns) *
            type.getElementTypeBitWidth() / 8;
  auto recipe = plan::CreateRecipe(fb, fb.CreateVector(sources), rows, columns, order, headDim, packing,
                                   fb.CreateVector(inverseFrequencies), attentionFactor, shortRows, temperatureBeta,
                                   temperatureLength, values.empty() ? 0 : fb.CreateVector(values));
  auto name = fb.CreateString(SymbolTable::getSymbolName(op).str());
  flatbuffers::Offset<plan::Quantization> quantization;
  if (quantized)
    quantization = buildQuantization(fb, weight, indices);
  auto result =
      plan::CreateWeight(fb, name, *elements, bytes, fileOffset, recipe, pack, sourceType, quantization, stage);
  fileOffset = llvm::alignTo(fileOffset + bytes, 256);
  return result;
}
