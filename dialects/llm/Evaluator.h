//===- Evaluator.h - the reference evaluator of the llm dialect ------------===//
//
// Computes a graph of the llm dialect op by op in double precision, as the op
// definitions say it and in no other order or precision. It is the oracle that
// fused graphs and both targets are held to: clear, never fast. Grouped and
// ungrouped graphs are evaluated alike.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_DIALECTS_LLM_EVALUATOR_H
#define INLAY_DIALECTS_LLM_EVALUATOR_H

#include "dialects/llm/Llm.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/Error.h"
#include <functional>
#include <map>
#include <memory>
#include <variant>

namespace inlay::llm {

/// Rows of doubles, one after the other.
struct Matrix {
  int64_t rows = 0, columns = 0;
  std::vector<double> values;

  Matrix() = default;
  Matrix(int64_t rows, int64_t columns) : rows(rows), columns(columns), values(rows * columns) {}
  llvm::ArrayRef<double> row(int64_t index) const { return llvm::ArrayRef(values).slice(index * columns, columns); }
  llvm::MutableArrayRef<double> row(int64_t index) {
    return llvm::MutableArrayRef(values).slice(index * columns, columns);
  }
};

using TokenIds = std::vector<int64_t>;

/// What `!llm.batch` stands for: which sequence and position each row of the step has.
struct Batch {
  std::vector<int64_t> sequences, positions; // one for each row
  std::vector<int64_t> logitRows;            // rows whose logits are asked for
  std::vector<double> temperatures;          // one for each of them, or none: all 0
  std::vector<int64_t> ropeRows = {};        // one for each row, of rope tables with two parts; needed for those alone
};

/// Keys and values of one sequence in one layer; the row is the position.
struct CachedSequence {
  Matrix keys, values;
};
/// What `!llm.kv_cache` stands for: layer, then sequence. A layer is shared with the cache that it was taken
/// from until it is appended to.
using LayerCache = std::map<int64_t, CachedSequence>;
using KvCache = std::map<int64_t, std::shared_ptr<const LayerCache>>;

/// A value of the graph. Tensors of floats are matrices, token ids vectors.
using GraphValue = std::variant<Matrix, TokenIds, Batch, KvCache>;

/// Reads the elements of a tensor of the checkpoint, row by row. Integers are numbers too, as they are.
using TensorReader = std::function<llvm::Expected<std::vector<double>>(llvm::StringRef name)>;

class WeightReader;

/// Evaluates functions of one module and keeps the weights that they read.
class Evaluator {
public:
  /// `reader` is asked for the sources of weights that hold no value. `ranks` are those of the module (`llm.ranks`).
  explicit Evaluator(TensorReader reader, int64_t ranks = 1);
  ~Evaluator();

  /// The results of `function` for `arguments`. Fails after a diagnostic at the op that cannot be evaluated: an
  /// argument that does not fit its type, a token or position out of range, a source that cannot be read, sampling
  /// with a temperature other than 0.
  mlir::FailureOr<std::vector<GraphValue>> evaluate(mlir::func::FuncOp function, llvm::ArrayRef<GraphValue> arguments);

  /// The same on all ranks, which run each op together: `arguments` and the results are those of each rank. Each has a
  /// cache of its own.
  mlir::FailureOr<std::vector<std::vector<GraphValue>>>
  evaluateRanks(mlir::func::FuncOp function, llvm::ArrayRef<std::vector<GraphValue>> arguments);

private:
  std::vector<std::unique_ptr<WeightReader>> weights; // of each rank
};

} // namespace inlay::llm

#endif // INLAY_DIALECTS_LLM_EVALUATOR_H
