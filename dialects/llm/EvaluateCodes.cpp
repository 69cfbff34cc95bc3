//===- EvaluateCodes.cpp - quantizers of rows, and products ---------------===//

#include "dialects/llm/EvaluatorStep.h"
#include "llvm/ADT/APFloat.h"

#include <cmath>

using namespace mlir;
using namespace inlay::llm;

double inlay::llm::nearestE4M3(double x) {
  constexpr double largest = 448;
  APFloat code(std::isnan(x) ? x : std::clamp(x, -largest, largest));
  bool isInexact;
  code.convert(APFloat::Float8E4M3FN(), APFloat::rmNearestTiesToEven, &isInexact);
  return code.convertToDouble();
}

LogicalResult inlay::llm::evaluate(Step &step, QuantizeOp op) {
  FailureOr<const Matrix *> given = op.getScale() ? step.weight(op, op.getScaleAttr()) : nullptr;
  if (failed(given))
    return failure();
  Matrix codes = step.rows(op.getInput());
  int64_t group = op.getGroupSize();
  double most = op.getLargestCode();
  Matrix scales(codes.rows, codes.columns / group);
  for (int64_t i = 0; i < codes.rows; ++i)
    for (auto [j, scale] : llvm::enumerate(scales.row(i))) {
      MutableArrayRef<double> values = codes.row(i).slice(static_cast<int64_t>(j) * group, group);
      double largest = 0;
      for (double x : values)
        largest = std::max(largest, std::abs(x));
      scale = *given ? *llvm::max_element((*given)->values) : std::max(largest / most, op.getLeastScale());
      for (double &x : values) {
        double code = std::clamp(x / scale, -most, most);
        x = op.getCodes() == Codes::I8 ? std::nearbyint(code) : nearestE4M3(code);
      }
    }
  step.set(op.getResult(), std::move(codes));
  step.set(op.getScales(), std::move(scales));
  return success();
}

/// The rows that a linear multiplies: its input, which may be codes with scales.
static Matrix rowsOf(Step &step, LinearOp op) {
  Matrix rows = step.rows(op.getInput());
  if (!op.getScales())
    return rows;
  const Matrix &scales = step.rows(op.getScales());
  int64_t group = rows.columns / scales.columns;
  for (int64_t i = 0; i < rows.rows; ++i)
    for (auto [k, x] : llvm::enumerate(rows.row(i)))
      x *= scales.row(i)[static_cast<int64_t>(k) / group];
  return rows;
}

LogicalResult inlay::llm::evaluate(Step &step, LinearOp op) {
  FailureOr<const Matrix *> weight = step.weight(op, op.getWeightAttr());
  FailureOr<const Matrix *> bias = op.getBias() ? step.weight(op, op.getBiasAttr()) : nullptr;
  if (failed(weight) || failed(bias))
    return failure();
  const Matrix input = rowsOf(step, op);
  const Matrix *squares = op.getSquares() ? &step.rows(op.getSquares()) : nullptr;
  if (squares && failed(verifyRows(op, input.rows, "the squares", squares->rows)))
    return failure();
  auto scaleOf = [&](int64_t row) {
    if (!squares)
      return 1.0;
    ArrayRef<double> parts = squares->row(row);
    double mean = std::accumulate(parts.begin(), parts.end(), 0.0) / static_cast<double>(input.columns);
    return 1 / std::sqrt(mean + op.getEps()->convertToDouble());
  };
  int64_t first = 0; // row of the weight that the result starts with
  for (Value output : op.getOutputs()) {
    Matrix result(input.rows, cast<RankedTensorType>(output.getType()).getDimSize(1));
    for (int64_t i = 0; i < result.rows; ++i) {
      double scale = scaleOf(i);
      for (auto [j, y] : llvm::enumerate(result.row(i))) {
        y = 0;
        for (auto [x, w] : llvm::zip(input.row(i), (*weight)->row(first + j)))
          y += x * w;
        y = y * scale + (*bias ? (*bias)->values[first + j] : 0.0);
      }
    }
    first += result.columns;
    step.set(output, std::move(result));
  }
  return success();
}
