//===- Evaluator.cpp - the reference evaluator of the llm dialect ----------===//
//
// One function an op, in the words of the op's definition (LlmOps.td), and a table
// from op to function. Adding an op is one function here and its name in the table.
//
//===----------------------------------------------------------------------===//

#include "dialects/llm/EvaluatorStep.h"

#include <cmath>
#include <numbers>
#include <numeric>

using namespace mlir;
using namespace inlay::llm;

LogicalResult inlay::llm::verifyRows(Operation *op, int64_t found, StringRef of, int64_t expected) {
  if (found != expected)
    return op->emitOpError() << "has " << found << " rows and " << of << " " << expected;
  return success();
}

static LogicalResult evaluate(Step &step, EmbeddingOp op) {
  FailureOr<const Matrix *> table = step.weight(op, op.getTableAttr());
  if (failed(table))
    return failure();
  const auto &tokens = step.get<TokenIds>(op.getTokens());
  Matrix result(tokens.size(), (*table)->columns);
  for (auto [i, token] : llvm::enumerate(tokens)) {
    if (token < 0 || token >= (*table)->rows)
      return op.emitOpError() << "looks up token " << token << " of " << (*table)->rows;
    for (auto [y, x] : llvm::zip(result.row(i), (*table)->row(token)))
      y = op.getScale().convertToDouble() * x;
  }
  step.set(op.getResult(), std::move(result));
  return success();
}

static LogicalResult evaluate(Step &step, PositionEmbeddingOp op) {
  FailureOr<const Matrix *> table = step.weight(op, op.getTableAttr());
  if (failed(table))
    return failure();
  const auto &batch = step.get<Batch>(op.getBatch());
  Matrix result(batch.positions.size(), (*table)->columns);
  for (auto [i, position] : llvm::enumerate(batch.positions)) {
    int64_t row = position + static_cast<int64_t>(op.getOffset());
    if (position < 0 || row >= (*table)->rows)
      return op.emitOpError() << "looks up position " << position << " in row " << row << " of " << (*table)->rows;
    llvm::copy((*table)->row(row), result.row(i).begin());
  }
  step.set(op.getResult(), std::move(result));
  return success();
}

/// The element for column `i` of a row of a vector that all groups share or that is as long as a row.
static double elementAt(const Matrix *vector, int64_t i, double otherwise) {
  return vector ? vector->values[i % vector->values.size()] : otherwise;
}

static LogicalResult evaluateNorm(Step &step, NormInterface op) {
  FailureOr<const Matrix *> weight = op.getWeightAttr() ? step.weight(op, op.getWeightAttr()) : nullptr;
  FailureOr<const Matrix *> bias = op.getBiasAttr() ? step.weight(op, op.getBiasAttr()) : nullptr;
  if (failed(weight) || failed(bias))
    return failure();
  Matrix result = step.rows(op.getInput());
  int64_t size = op.getSize();
  double offset = op.getWeightOffset().convertToDouble(), eps = op.getEps().convertToDouble();
  for (int64_t i = 0; i < result.rows; ++i)
    for (int64_t start = 0; start < result.columns; start += size) {
      MutableArrayRef<double> group = result.row(i).slice(start, size);
      double mean = 0, squares = 0;
      if (op.subtractsMean())
        mean = std::accumulate(group.begin(), group.end(), 0.0) / size;
      for (double x : group)
        squares += (x - mean) * (x - mean);
      double scale = 1 / std::sqrt(squares / size + eps);
      for (auto [j, x] : llvm::enumerate(group))
        x = (x - mean) * scale * (elementAt(*weight, start + j, 1) + offset) + elementAt(*bias, start + j, 0);
    }
  step.set(op->getResult(0), std::move(result));
  return success();
}
static LogicalResult evaluate(Step &step, RmsNormOp op) { return evaluateNorm(step, op); }
static LogicalResult evaluate(Step &step, LayerNormOp op) { return evaluateNorm(step, op); }

static LogicalResult evaluate(Step &step, SumOfSquaresOp op) {
  const Matrix &input = step.rows(op.getInput());
  Matrix result(input.rows, cast<RankedTensorType>(op.getResult().getType()).getDimSize(1));
  int64_t part = input.columns / result.columns;
  for (int64_t i = 0; i < input.rows; ++i)
    for (auto [j, x] : llvm::enumerate(input.row(i)))
      result.row(i)[j / part] += x * x;
  step.set(op.getResult(), std::move(result));
  return success();
}

static LogicalResult evaluate(Step &step, ScaleColumnsOp op) {
  FailureOr<const Matrix *> weight = step.weight(op, op.getWeightAttr());
  if (failed(weight))
    return failure();
  Matrix result = step.rows(op.getInput());
  double offset = op.getWeightOffset().convertToDouble();
  for (int64_t i = 0; i < result.rows; ++i)
    for (auto [j, x] : llvm::enumerate(result.row(i)))
      x *= (*weight)->values[j] + offset;
  step.set(op.getResult(), std::move(result));
  return success();
}

static LogicalResult evaluate(Step &step, RmsScaleOp op) {
  FailureOr<const Matrix *> weight = op.getWeight() ? step.weight(op, op.getWeightAttr()) : nullptr;
  const Matrix &squares = step.rows(op.getSquares());
  Matrix result = step.rows(op.getInput());
  if (failed(weight) || failed(verifyRows(op, result.rows, "the squares", squares.rows)))
    return failure();
  double offset = op.getWeightOffset().convertToDouble(), eps = op.getEps().convertToDouble();
  for (int64_t i = 0; i < result.rows; ++i) {
    double scale = 1 / std::sqrt(squares.values[i] / static_cast<double>(op.getColumns()) + eps);
    for (auto [j, x] : llvm::enumerate(result.row(i)))
      x *= scale * (elementAt(*weight, j, 1) + offset);
  }
  step.set(op.getResult(), std::move(result));
  return success();
}

static LogicalResult evaluate(Step &step, RopeOp op) {
  RopeTableOp table = op.getTableOp();
  int64_t tableRows = cast<RankedTensorType>(table.getType()).getDimSize(0);
  const auto &batch = step.get<Batch>(op.getBatch());
  const auto &chosen = table.hasTwoParts() ? batch.ropeRows : batch.positions;
  Matrix result = step.rows(op.getInput());
  if (failed(verifyRows(op, result.rows, "the batch", chosen.size())))
    return failure();
  int64_t headDim = op.getHeadDim(), half = op.getRotaryDim() / 2;
  for (auto [row, tableRow] : llvm::enumerate(chosen)) {
    if (tableRow < 0 || tableRow >= tableRows)
      return op.emitOpError() << "rotates position " << tableRow << " of " << tableRows;
    ArrayRef<double> frequencies = table.getFrequenciesOf(tableRow);
    double factor = table.getFactorOf(tableRow);
    auto position = static_cast<double>(table.getPositionOf(tableRow));
    for (int64_t head = 0; head < result.columns; head += headDim) {
      MutableArrayRef<double> x = result.row(row).slice(head, headDim);
      for (auto [i, frequency] : llvm::enumerate(frequencies)) {
        double c = factor * std::cos(position * frequency), s = factor * std::sin(position * frequency);
        double low = x[i], high = x[i + half];
        x[i] = low * c - high * s;
        x[i + half] = high * c + low * s;
      }
    }
  }
  step.set(op.getResult(), std::move(result));
  return success();
}

/// Puts `row` at `position` of `rows`, which may become one row longer.
static void place(Matrix &rows, int64_t position, ArrayRef<double> row) {
  if (position == rows.rows) {
    rows.columns = row.size();
    ++rows.rows;
    rows.values.resize(rows.rows * rows.columns);
  }
  llvm::copy(row, rows.row(position).begin());
}

/// What a cache of codes holds of `rows`. Scales are those of heads; null: 1.
static void quantizeRows(Matrix &rows, const Matrix *scales, int64_t headDim) {
  for (int64_t i = 0; i < rows.rows; ++i)
    for (auto [column, x] : llvm::enumerate(rows.row(i)))
      x = nearestE4M3(x / (scales ? scales->values[static_cast<int64_t>(column) / headDim] : 1.0));
}

/// The scale of a kv head's keys or values.
static FailureOr<double> scaleOf(Step &step, PagedAttentionOp op, FlatSymbolRefAttr name, int64_t kvHead) {
  if (!name)
    return 1.0;
  FailureOr<const Matrix *> scales = step.weight(op, name);
  if (failed(scales))
    return failure();
  return (*scales)->values[kvHead];
}

static LogicalResult evaluate(Step &step, KvAppendOp op) {
  Matrix keys = step.rows(op.getKey()), values = step.rows(op.getValue());
  const auto &batch = step.get<Batch>(op.getBatch());
  if (failed(verifyRows(op, keys.rows, "the values", values.rows)) ||
      failed(verifyRows(op, keys.rows, "the batch", batch.positions.size())))
    return failure();
  FailureOr<const Matrix *> keyScale = op.getKeyScaleAttr() ? step.weight(op, op.getKeyScaleAttr()) : nullptr;
  FailureOr<const Matrix *> valueScale = op.getValueScaleAttr() ? step.weight(op, op.getValueScaleAttr()) : nullptr;
  if (failed(keyScale) || failed(valueScale))
    return failure();
  if (op.getCache().getType().getCodes()) {
    quantizeRows(keys, *keyScale, op.getHeadDim());
    quantizeRows(values, *valueScale, op.getHeadDim());
  }
  KvCache cache = step.get<KvCache>(op.getCache());
  std::shared_ptr<const LayerCache> &known = cache[op.getLayer()];
  auto layer = known ? std::make_shared<LayerCache>(*known) : std::make_shared<LayerCache>();
  for (int64_t row = 0; row < keys.rows; ++row) {
    CachedSequence &sequence = (*layer)[batch.sequences[row]];
    int64_t position = batch.positions[row];
    if (position < 0 || position > sequence.keys.rows)
      return op.emitOpError() << "appends position " << position << " to sequence " << batch.sequences[row]
                              << ", which has " << sequence.keys.rows;
    place(sequence.keys, position, keys.row(row));
    place(sequence.values, position, values.row(row));
  }
  known = std::move(layer);
  step.set(op.getResult(), std::move(cache));
  return success();
}

/// Attention of query head `head` of a rank over positions [begin, end) of its kv head. `sinks` may be null.
static void attend(PagedAttentionOp op, int64_t rank, int64_t head, ArrayRef<double> query,
                   const CachedSequence &sequence, int64_t begin, int64_t end, const Matrix *sinks, double keyScale,
                   double valueScale, MutableArrayRef<double> result) {
  int64_t column = head / (op.getHeads() / op.getKvHeads()) * query.size();
  std::vector<double> scores;
  for (int64_t position = begin; position < end; ++position) {
    double score = 0;
    for (auto [q, k] : llvm::zip(query, sequence.keys.row(position).slice(column, query.size())))
      score += q * k;
    score *= op.getScale().convertToDouble() * keyScale;
    if (op.getSoftcap()) {
      double cap = op.getSoftcap()->convertToDouble();
      score = cap * std::tanh(score / cap);
    }
    if (op.getAlibi())
      score += (*op.getAlibi())[rank * static_cast<int64_t>(op.getHeads()) + head] *
               static_cast<double>(position - (end - 1));
    scores.push_back(score);
  }
  double largest = *llvm::max_element(scores);
  if (sinks)
    largest = std::max(largest, sinks->values[head]);
  double sum = sinks ? std::exp(sinks->values[head] - largest) : 0;
  for (double &score : scores)
    sum += score = std::exp(score - largest);
  for (auto [i, score] : llvm::enumerate(scores))
    for (auto [y, v] : llvm::zip(result, sequence.values.row(begin + i).slice(column, query.size())))
      y += score / sum * v * valueScale;
}

static LogicalResult evaluate(Step &step, PagedAttentionOp op) {
  const Matrix &queries = step.rows(op.getQuery());
  const auto &batch = step.get<Batch>(op.getBatch());
  const auto &cache = step.get<KvCache>(op.getCache());
  if (failed(verifyRows(op, queries.rows, "the batch", batch.positions.size())))
    return failure();
  FailureOr<const Matrix *> sinks = op.getSinks() ? step.weight(op, op.getSinksAttr()) : nullptr;
  if (failed(sinks))
    return failure();
  int64_t headDim = op.getHeadDim();
  Matrix result(queries.rows, queries.columns);
  auto layer = cache.find(op.getLayer());
  for (int64_t row = 0; row < queries.rows; ++row) {
    int64_t id = batch.sequences[row], end = batch.positions[row] + 1;
    const CachedSequence *sequence = nullptr;
    if (layer != cache.end())
      if (auto it = layer->second->find(id); it != layer->second->end())
        sequence = &it->second;
    if (end < 1 || !sequence || sequence->keys.rows < end)
      return op.emitOpError() << "attends from position " << end - 1 << " of sequence " << id
                              << " in a layer that holds " << (sequence ? sequence->keys.rows : 0);
    if (sequence->keys.columns != static_cast<int64_t>(op.getKvHeads() * headDim))
      return op.emitOpError() << "reads " << op.getKvHeads() << " kv heads of " << headDim << " from a cache of "
                              << sequence->keys.columns << " columns";
    int64_t begin = op.getWindow() ? std::max<int64_t>(0, end - *op.getWindow()) : 0;
    for (int64_t head = 0; head < static_cast<int64_t>(op.getHeads()); ++head) {
      int64_t kvHead = head / static_cast<int64_t>(op.getHeads() / op.getKvHeads());
      FailureOr<double> keyScale = scaleOf(step, op, op.getKeyScaleAttr(), kvHead);
      FailureOr<double> valueScale = scaleOf(step, op, op.getValueScaleAttr(), kvHead);
      if (failed(keyScale) || failed(valueScale))
        return failure();
      attend(op, step.rank, head, queries.row(row).slice(head * headDim, headDim), *sequence, begin, end, *sinks,
             *keyScale, *valueScale, result.row(row).slice(head * headDim, headDim));
    }
  }
  step.set(op.getResult(), std::move(result));
  return success();
}

static double activate(Activation kind, double x) {
  switch (kind) {
  case Activation::Silu:
    return x / (1 + std::exp(-x));
  case Activation::GeluTanh: // Hendrycks and Gimpel, 2016
    return x / 2 * (1 + std::tanh(std::sqrt(2 * std::numbers::inv_pi) * (x + 0.044715 * x * x * x)));
  case Activation::Gelu:
    return x / 2 * (1 + std::erf(x / std::numbers::sqrt2));
  case Activation::Relu:
    return std::max(x, 0.0);
  case Activation::Relu2:
    return std::max(x, 0.0) * std::max(x, 0.0);
  }
  llvm_unreachable("all activations are handled");
}

static LogicalResult evaluate(Step &step, GatedActivationOp op) {
  Matrix result = step.rows(op.getGate());
  const Matrix &up = step.rows(op.getUp());
  if (failed(verifyRows(op, result.rows, "up", up.rows)))
    return failure();
  for (auto [x, y] : llvm::zip(result.values, up.values))
    x = activate(op.getKind(), x) * y;
  step.set(op.getResult(), std::move(result));
  return success();
}

static LogicalResult evaluate(Step &step, AddOp op) {
  Matrix result = step.rows(op.getLhs());
  const Matrix &rhs = step.rows(op.getRhs());
  if (failed(verifyRows(op, result.rows, "the other operand", rhs.rows)))
    return failure();
  for (auto [x, y] : llvm::zip(result.values, rhs.values))
    x += y;
  step.set(op.getResult(), std::move(result));
  return success();
}

static LogicalResult evaluate(Step &step, AddBiasOp op) {
  FailureOr<const Matrix *> bias = step.weight(op, op.getBiasAttr());
  if (failed(bias))
    return failure();
  Matrix result = step.rows(op.getInput());
  for (int64_t i = 0; i < result.rows; ++i)
    for (auto [x, b] : llvm::zip(result.row(i), (*bias)->values))
      x += b;
  step.set(op.getResult(), std::move(result));
  return success();
}

/// Replaces each element of `input` by `function` of it.
template <typename Function>
static LogicalResult evaluateElements(Step &step, Value input, Value output, Function function) {
  Matrix result = step.rows(input);
  for (double &x : result.values)
    x = function(x);
  step.set(output, std::move(result));
  return success();
}

static LogicalResult evaluate(Step &step, ActivationOp op) {
  return evaluateElements(step, op.getInput(), op.getResult(), [&](double x) { return activate(op.getKind(), x); });
}

static LogicalResult evaluate(Step &step, ScaleOp op) {
  double factor = op.getFactor().convertToDouble();
  return evaluateElements(step, op.getInput(), op.getResult(), [&](double x) { return factor * x; });
}

static LogicalResult evaluate(Step &step, SoftcapOp op) {
  double cap = op.getCap().convertToDouble();
  return evaluateElements(step, op.getInput(), op.getResult(), [&](double x) { return cap * std::tanh(x / cap); });
}

static LogicalResult evaluate(Step &step, GatherRowsOp op) {
  const Matrix &input = step.rows(op.getInput());
  const auto &batch = step.get<Batch>(op.getBatch());
  Matrix result(batch.logitRows.size(), input.columns);
  for (auto [i, row] : llvm::enumerate(batch.logitRows)) {
    if (row < 0 || row >= input.rows)
      return op.emitOpError() << "gathers row " << row << " of " << input.rows;
    llvm::copy(input.row(row), result.row(i).begin());
  }
  step.set(op.getResult(), std::move(result));
  return success();
}

static LogicalResult evaluate(Step &step, GatherColumnsOp op) {
  FailureOr<const Matrix *> order = step.weight(op, op.getOrderAttr());
  if (failed(order))
    return failure();
  const Matrix &input = step.rows(op.getInput());
  Matrix result(input.rows, input.columns);
  for (auto [j, column] : llvm::enumerate((*order)->values)) {
    if (column < 0 || column >= static_cast<double>(input.columns))
      return op.emitOpError() << "gathers column " << column << " of " << input.columns;
    for (int64_t i = 0; i < input.rows; ++i)
      result.row(i)[j] = input.row(i)[static_cast<size_t>(column)];
  }
  step.set(op.getResult(), std::move(result));
  return success();
}

static LogicalResult verifyGreedy(Operation *op, const Batch &batch) {
  for (double temperature : batch.temperatures)
    if (temperature != 0)
      return op->emitOpError() << "samples at temperature " << temperature
                               << "; the reference takes the largest logit, which is temperature 0";
  return success();
}

static LogicalResult evaluate(Step &step, SampleOp op) {
  const Matrix &logits = step.rows(op.getLogits());
  if (failed(verifyGreedy(op, step.get<Batch>(op.getBatch()))))
    return failure();
  TokenIds result;
  for (int64_t i = 0; i < logits.rows; ++i) // the first of the largest
    result.push_back(std::max_element(logits.row(i).begin(), logits.row(i).end()) - logits.row(i).begin());
  step.set(op.getResult(), std::move(result));
  return success();
}

static LogicalResult evaluate(Step &step, SampleCandidateOp op) {
  const Matrix &logits = step.rows(op.getLogits());
  if (failed(verifyGreedy(op, step.get<Batch>(op.getBatch()))))
    return failure();
  int64_t first = step.rank * logits.columns;
  int64_t count = std::clamp<int64_t>(static_cast<int64_t>(op.getVocabulary()) - first, 0, logits.columns);
  Matrix result(logits.rows, 2);
  for (int64_t i = 0; i < logits.rows; ++i) {
    ArrayRef<double> own = logits.row(i).take_front(count);
    const auto *best = std::max_element(own.begin(), own.end());
    result.row(i)[0] = own.empty() ? std::numeric_limits<float>::lowest() : *best;
    result.row(i)[1] = static_cast<double>(own.empty() ? 0 : first + (best - own.begin()));
  }
  step.set(op.getResult(), std::move(result));
  return success();
}

static LogicalResult evaluate(Step &step, SampleMergeOp op) {
  const Matrix &candidates = step.rows(op.getCandidates());
  TokenIds result;
  for (int64_t i = 0; i < candidates.rows; ++i) {
    ArrayRef<double> row = candidates.row(i);
    size_t best = 0;
    for (size_t at = 2; at < row.size(); at += 2)
      if (row[best] < row[at])
        best = at;
    result.push_back(static_cast<int64_t>(row[best + 1]));
  }
  step.set(op.getResult(), std::move(result));
  return success();
}

/// Adds ops that each rank evaluates alone.
template <typename... Ops> static void addOps(EvaluatorTable &table) {
  (table.try_emplace(Ops::getOperationName(),
                     [](MutableArrayRef<Step> steps, Operation *op) -> LogicalResult {
                       for (Step &step : steps)
                         if (failed(evaluate(step, cast<Ops>(op))))
                           return failure();
                       return success();
                     }),
   ...);
}

void inlay::llm::addOpsOfOneRank(EvaluatorTable &table) {
  addOps<ActivationOp, AddBiasOp, AddOp, EmbeddingOp, GatedActivationOp, GatherColumnsOp, GatherRowsOp, KvAppendOp,
         LayerNormOp, LinearOp, PagedAttentionOp, PositionEmbeddingOp, QuantizeOp, RmsNormOp, RmsScaleOp, RopeOp,
         SampleCandidateOp, SampleMergeOp, SampleOp, ScaleColumnsOp, ScaleOp, SoftcapOp, SumOfSquaresOp>(table);
}
