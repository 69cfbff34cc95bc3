//===- EvaluatePrompt.h - a prompt in the reference evaluator --------------===//

#ifndef INLAY_TEST_COMPILER_EVALUATEPROMPT_H
#define INLAY_TEST_COMPILER_EVALUATEPROMPT_H

#include "dialects/llm/Evaluator.h"
#include "gtest/gtest.h"

namespace inlay {

/// The first result of `step` for one sequence of all `ids`, whose every row has logits.
inline llm::Matrix evaluatePrompt(llm::Evaluator &evaluator, mlir::func::FuncOp step, const std::vector<int32_t> &ids) {
  llm::Batch batch;
  for (size_t position = 0; position < ids.size(); ++position) {
    batch.sequences.push_back(0);
    batch.positions.push_back(position);
    batch.ropeRows.push_back(position);
    batch.logitRows.push_back(position);
  }
  mlir::FailureOr<std::vector<llm::GraphValue>> results =
      evaluator.evaluate(step, {llm::TokenIds(ids.begin(), ids.end()), batch, llm::KvCache()});
  EXPECT_TRUE(succeeded(results));
  return succeeded(results) ? std::get<llm::Matrix>(results->front()) : llm::Matrix();
}

} // namespace inlay

#endif // INLAY_TEST_COMPILER_EVALUATEPROMPT_H
