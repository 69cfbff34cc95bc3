//===- WeightReader.cpp - the weights of a module as numbers ---------------===//

#include "dialects/llm/WeightReader.h"

#include "formats/quantization/column_order.h"
#include "formats/quantization/e2m1.h"
#include "formats/quantization/quantize.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;

FailureOr<const Matrix *> WeightReader::read(Operation *user, FlatSymbolRefAttr name) {
  auto op = SymbolTable::lookupNearestSymbolFrom<WeightOp>(user, name);
  if (!op)
    return user->emitOpError() << "reads '" << name.getValue() << "', which is no llm.weight";
  auto [it, isNew] = known.try_emplace(name.getValue());
  Matrix &weight = it->second; // entries of a StringMap stay where they are
  if (isNew && (failed(load(op, weight)) || (op.getQuantized() && failed(dequantize(op, weight))))) {
    known.erase(name.getValue());
    return failure();
  }
  return &weight;
}

LogicalResult WeightReader::load(WeightOp op, Matrix &result) {
  RankedTensorType type = op.getTensorType();
  result.rows = type.getRank() == 1 ? 1 : type.getDimSize(0);
  result.columns = type.getDimSize(type.getRank() - 1);
  if (op.getValue()) {
    if (isa<IntegerType>(type.getElementType()))
      for (const APInt &element : op.getValue()->getValues<APInt>())
        result.values.push_back(element.getZExtValue());
    else
      for (const APFloat &element : op.getValue()->getValues<APFloat>())
        result.values.push_back(element.convertToDouble());
    return success();
  }
  for (Attribute attribute : op.getSourcesAttr())
    if (failed(append(op, SourceAttr::of(attribute), type.getRank() == 1 ? 1 : result.columns, result.values)))
      return failure();
  if (static_cast<int64_t>(result.values.size()) != type.getNumElements())
    return op.emitOpError() << "has sources of " << result.values.size() << " elements for " << type;
  return success();
}

/// Element (row, column) of the matrix that `storage` makes of the words of a tensor.
static double readElement(SourceAttr source, ArrayRef<double> words, int64_t columns, int64_t row, int64_t column) {
  StorageAttr storage = source.getStorage();
  int64_t wordColumns = storage ? storage.getWordColumns(columns) : columns, field = 0;
  if (storage) {
    int64_t fields = storage.getFieldsPerWord(), &along = storage.getAlongRows() ? row : column;
    if (storage.getRepeat())
      row /= storage.getRepeat();
    field = along % fields;
    along /= fields;
  }
  int64_t wordRows = static_cast<int64_t>(words.size()) / wordColumns;
  double word = words[source.getTransposed() ? column * wordRows + row : row * wordColumns + column];
  if (!storage)
    return word;
  if (storage.getBits()) {
    // A signed word has the bits of the unsigned one.
    uint64_t bits = static_cast<uint64_t>(static_cast<int64_t>(word)) >> storage.getShift(field);
    bits &= (uint64_t{1} << storage.getBits()) - 1;
    if (storage.getFloats())
      return APFloat(APFloat::Float8E4M3FN(), APInt(8, kE4M3OfE2M1[bits])).convertToDouble();
    return static_cast<double>(bits) + storage.getAddend();
  }
  if (storage.getExponents())
    word = word == 255 ? std::numeric_limits<double>::quiet_NaN() : std::exp2(word - 127);
  return storage.getScale() ? word * storage.getScale().getValueAsDouble() : word;
}

/// The bits that the quantizer's number stands for, as the tensor of a checkpoint with such codes has it.
static double numberOf(Codes codes, std::byte code) {
  auto bits = static_cast<uint8_t>(code);
  switch (codes) {
  case Codes::F8E4M3:
    return APFloat(APFloat::Float8E4M3FN(), APInt(8, bits)).convertToDouble();
  case Codes::I8:
    return static_cast<int8_t>(bits);
  default:
    return bits;
  }
}

/// Makes rows of `columns` elements of a tensor of floats into what the quantizer of `source` says: codes, or scales.
static LogicalResult readQuantized(WeightOp op, SourceAttr source, ArrayRef<double> elements, Matrix &result) {
  QuantizerAttr quantizer = source.getStorage().getQuantizer();
  QuantizerCodes type = quantizer.getCodes() == Codes::U4   ? QuantizerCodes::kU4
                        : quantizer.getCodes() == Codes::I8 ? QuantizerCodes::kI8
                                                            : QuantizerCodes::kF8E4M3;
  int64_t size = quantizer.getGroup(), width = source.getStorage().getWordColumns(result.columns);
  if (width % size != 0)
    return op.emitOpError() << "quantizes rows of " << width << " elements in groups of " << size;
  std::vector<float> floats(size);
  std::vector<std::byte> codes(size);
  for (int64_t row = 0; row < result.rows; ++row)
    for (int64_t first = 0; first < width; first += size) {
      for (int64_t column = 0; column < size; ++column)
        floats[column] =
            static_cast<float>(readElement(source, elements, result.columns, source.getTensorRow(row), first + column));
      QuantizedGroup found = QuantizeGroup(type, floats, codes);
      if (std::isnan(found.scale))
        return op.emitOpError() << "quantizes row " << row << " of '" << source.getName().getValue()
                                << "', which has a value that is not finite";
      if (quantizer.getMakesScales())
        result.values.push_back(found.scale);
      else
        for (std::byte code : codes)
          result.values.push_back(numberOf(quantizer.getCodes(), code));
    }
  return success();
}

LogicalResult WeightReader::expandNested(WeightOp op, NestedAttr nested, std::vector<double> &codes) {
  llvm::Expected<std::vector<double>> table = reader(nested.getTable());
  llvm::Expected<std::vector<double>> scales = reader(nested.getScales());
  for (llvm::Expected<std::vector<double>> *read : {&table, &scales})
    if (!*read)
      return op.emitOpError() << "has nested scales that were not read: " << llvm::toString(read->takeError());
  if (static_cast<int64_t>(codes.size()) > static_cast<int64_t>(scales->size()) * nested.getBlock())
    return op.emitOpError() << "has " << codes.size() << " codes of scales, and '" << nested.getScales().getValue()
                            << "' has " << scales->size() << " scales of " << nested.getBlock();
  for (auto [i, code] : llvm::enumerate(codes)) {
    if (code >= static_cast<double>(table->size()))
      return op.emitOpError() << "has the code " << code << " of a scale, and '" << nested.getTable().getValue()
                              << "' has " << table->size() << " elements";
    // In f32, as bitsandbytes computes it.
    auto product = static_cast<float>((*table)[static_cast<size_t>(code)] * (*scales)[i / nested.getBlock()]);
    code = product + static_cast<float>(nested.getOffset().getValueAsDouble());
  }
  return success();
}

FailureOr<std::vector<int32_t>> WeightReader::readColumnOrder(WeightOp op, ColumnOrderAttr attribute, StringAttr name,
                                                              int64_t columns) {
  llvm::Expected<std::vector<double>> elements = reader(name);
  if (!elements)
    return op.emitOpError() << "sorts columns by '" << name.getValue()
                            << "', which was not read: " << llvm::toString(elements.takeError());
  if (static_cast<int64_t>(elements->size()) != columns)
    return op.emitOpError() << "sorts " << columns << " columns by '" << name.getValue() << "', which has "
                            << elements->size() << " elements";
  std::vector<int32_t> groups(elements->begin(), elements->end());
  if (std::optional<ColumnGroupsProblem> problem = CheckColumnGroups(groups, attribute.getSize()))
    return op.emitOpError() << "sorts columns by '" << name.getValue() << "', which has " << problem->found
                            << ", expected " << problem->expected;
  return SortColumns(groups, attribute.getSize());
}

/// All of a source, whatever part of it the rank has.
FailureOr<Matrix> WeightReader::readSource(WeightOp op, SourceAttr source, int64_t columns) {
  StorageAttr storage = source.getStorage();
  ColumnOrderAttr ordering = storage ? storage.getColumnOrder() : ColumnOrderAttr();
  std::vector<int32_t> order;
  if (ordering) {
    FailureOr<std::vector<int32_t>> sorted =
        readColumnOrder(op, ordering, ordering.getGroups() ? ordering.getGroups() : source.getName(), columns);
    if (failed(sorted))
      return failure();
    order = *std::move(sorted);
  }
  Matrix result;
  result.columns = columns;
  if (ordering && !ordering.getGroups()) {
    result.rows = 1;
    result.values.assign(order.begin(), order.end());
    return result;
  }
  llvm::Expected<std::vector<double>> elements = reader(source.getName());
  if (!elements)
    return op.emitOpError() << "has the source '" << source.getName().getValue()
                            << "', which was not read: " << llvm::toString(elements.takeError());
  if (storage && storage.getNested() && failed(expandNested(op, storage.getNested(), *elements)))
    return failure();
  int64_t size = elements->size();
  int64_t tensorRows = storage ? storage.getMatrixRows(size, columns) : size / columns;
  std::optional<int64_t> rows = source.getRows(tensorRows);
  if (!rows)
    return op.emitOpError() << "has the source " << source << ", but the tensor has " << tensorRows << " rows of "
                            << columns;
  result.rows = *rows;
  if (storage && storage.getQuantizer()) {
    if (failed(readQuantized(op, source, *elements, result)))
      return failure();
    return result;
  }
  bool isScale = storage && storage.getScale();
  for (int64_t row = 0; row < *rows; ++row)
    for (int64_t column = 0; column < columns; ++column) {
      double value =
          readElement(source, *elements, columns, source.getTensorRow(row), ordering ? order[column] : column);
      if (isScale && !(std::isfinite(value) && (value != 0 || storage.getAllowsZero())))
        return op.emitOpError() << "has the scale " << value << " of row " << row << " in '"
                                << source.getName().getValue() << "', expected a finite number that is not 0";
      result.values.push_back(value);
    }
  return result;
}

LogicalResult WeightReader::append(WeightOp op, SourceAttr source, int64_t columns, std::vector<double> &values) {
  FailureOr<Matrix> all = readSource(op, source, source.getWholeColumns(columns));
  if (failed(all))
    return failure();
  ShardAttr shard = source.getShard();
  if (!shard) {
    llvm::append_range(values, all->values);
    return success();
  }
  if (shard.isWhole()) {
    if (shard.getIndex() == shard.getPartOf(rank, ranks))
      llvm::append_range(values, all->values);
    return success();
  }
  bool ofRows = shard.getAxis() == Axis::Rows;
  int64_t part = shard.getPartOf(rank, ranks), whole = ofRows ? all->rows : all->columns;
  if (int64_t size = shard.getPartSize(whole);
      size * shard.getParts() < whole || (shard.getSize() == 0 && size * shard.getParts() != whole))
    return op.emitOpError() << "has the source " << source << ", but the tensor has " << whole << " "
                            << stringifyAxis(shard.getAxis());
  if (!ofRows) {
    for (int64_t row = 0; row < all->rows; ++row)
      llvm::append_range(values, all->row(row).slice(part * columns, columns));
    return success();
  }
  int64_t rows = shard.getPartSize(whole);
  for (int64_t row = part * rows; row < (part + 1) * rows; ++row)
    if (row < whole)
      llvm::append_range(values, all->row(row));
    else
      values.resize(values.size() + columns); // rows of padding
  return success();
}

LogicalResult WeightReader::dequantize(WeightOp op, Matrix &codes) {
  QuantizedAttr quantized = op.getQuantizedAttr();
  FailureOr<const Matrix *> scales = read(op, quantized.getScales());
  FailureOr<const Matrix *> zeros = quantized.getZeroPoints() ? read(op, quantized.getZeroPoints()) : nullptr;
  if (failed(scales) || failed(zeros))
    return failure();
  // A float is its own meaning, and so is a signed integer of a checkpoint.
  bool isNumber = quantized.getCodes() == Codes::F8E4M3 || (quantized.getCodes() == Codes::I8 && !op.getValue());
  for (int64_t row = 0; row < codes.rows; ++row)
    for (auto [column, code] : llvm::enumerate(codes.row(row))) {
      int64_t group = static_cast<int64_t>(column) / quantized.getGroup();
      double zero = *zeros ? (*zeros)->row(row)[group] : static_cast<double>(quantized.getZeroPoint());
      double number = isNumber ? code : quantized.decode(static_cast<uint64_t>(code));
      code = (number - zero) * (*scales)->row(row)[group];
    }
  return success();
}
