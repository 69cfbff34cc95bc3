//===- LlmInterfaces.td - how an op takes part in fusion -------------------===//

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

#endif // INLAY_DIALECTS_LLM_INTERFACES
