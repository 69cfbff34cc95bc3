//===- LlmInterfaces.td - what passes ask of ops --------------------------===//
//
// How an op takes part in fusion, and what norms have in common.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_DIALECTS_LLM_INTERFACES
#define INLAY_DIALECTS_LLM_INTERFACES

include "mlir/IR/OpBase.td"

def Llm_FusionInterface : OpInterface<"FusionInterface"> {
  let cppNamespace = "::inlay::llm";
  let description = [{
    How an op can be fused into a group. `llm-form-groups` uses only this
    interface, so a new op takes part in fusion by implementing it.
  }];
  let methods = [
    InterfaceMethod<"True for an op that starts a group (a matrix product, attention).",
      "bool", "isAnchor", (ins), "", "return false;">,
    InterfaceMethod<"True if the op can be applied while `anchor` stages its input.",
      "bool", "canBePrologueOf", (ins "::mlir::Operation *":$anchor), "", "return false;">,
    InterfaceMethod<"True if the op can be applied to the output tile of `anchor` before it is stored.",
      "bool", "canBeEpilogueOf", (ins "::mlir::Operation *":$anchor), "", "return false;">,
    InterfaceMethod<"Number of vectors, each as long as an input row, that a kernel keeps to apply the op as a prologue.",
      "int64_t", "getStagedVectors", (ins), "", "return 0;">,
    InterfaceMethod<"Bytes of weights that the op reads for a step of `rows` rows.",
      "int64_t", "getWeightBytes", (ins "int64_t":$rows), "", "return 0;">];
}

def Llm_NormInterface : OpInterface<"NormInterface"> {
  let cppNamespace = "::inlay::llm";
  let description = [{
    What `rms_norm` and `layer_norm` have in common: the statistics of `getSize()` columns scale
    these columns, a weight and a bias are applied afterwards.
  }];
  let methods = [
    InterfaceMethod<"The rows to normalize.", "::mlir::Value", "getInput">,
    InterfaceMethod<"The weight; null without one.", "::mlir::FlatSymbolRefAttr", "getWeightAttr">,
    InterfaceMethod<"The bias; null without one.", "::mlir::FlatSymbolRefAttr", "getBiasAttr", (ins), "", "return {};">,
    InterfaceMethod<"What is added to the mean of the squares.", "::llvm::APFloat", "getEps">,
    InterfaceMethod<"What is added to the weight.", "::llvm::APFloat", "getWeightOffset">,
    InterfaceMethod<"Columns of one mean, if not those of the whole row.", "std::optional<uint64_t>", "getGroup">,
    InterfaceMethod<"True if the mean is subtracted first.", "bool", "subtractsMean", (ins), "", "return false;">];
  let extraSharedClassDeclaration = [{
    /// Columns of a row.
    int64_t getColumns() {
      return ::llvm::cast<::mlir::RankedTensorType>($_op.getInput().getType()).getDimSize(1);
    }
    /// Columns of one mean.
    int64_t getSize() { return $_op.getGroup() ? static_cast<int64_t>(*$_op.getGroup()) : getColumns(); }
  }];
}

def Llm_ShardInterface : OpInterface<"ShardInterface"> {
  let cppNamespace = "::inlay::llm";
  let description = [{
    How an op runs where the columns of its rows are divided among ranks. `llm-shard` uses only this interface: an op
    without it takes and gives whole rows.
  }];
  let methods = [
    InterfaceMethod<"What the ranks divide among them of the columns of operand `index`; nothing by default.",
      "::inlay::llm::SplitUnits", "getSplitUnits", (ins "unsigned":$index), "", "return {};">,
    InterfaceMethod<"True if a rank computes its columns of the result from its columns of the operands.",
      "bool", "keepsColumns", (ins), "", "return true;">,
    InterfaceMethod<"True for a sum, which may be taken before the sum over ranks.",
      "bool", "isSum", (ins), "", "return false;">,
    InterfaceMethod<"Attributes that name weights with elements for columns, or heads, of the operands.",
      "::llvm::SmallVector<::llvm::StringRef>", "getWeightsOfColumns", (ins), "", "return {};">,
    InterfaceMethod<"Makes it the op of one of `ranks` ranks, where its attributes count columns or heads.",
      "void", "makePart", (ins "int64_t":$ranks), "", "return;">];
}

def Llm_CollectiveInterface : OpInterface<"CollectiveInterface"> {
  let cppNamespace = "::inlay::llm";
  let description = "An op that all ranks run together: its result depends on the operands of all of them.";
  let methods = [InterfaceMethod<"What each rank contributes.", "::mlir::Value", "getInput">];
}

#endif // INLAY_DIALECTS_LLM_INTERFACES
