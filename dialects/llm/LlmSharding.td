//===- LlmSharding.td - which part of a source a rank has -----------------===//
//
// The attribute of a source that is divided among the ranks of a module, and the
// attribute of the module that says how many ranks there are.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_DIALECTS_LLM_SHARDING
#define INLAY_DIALECTS_LLM_SHARDING

include "mlir/IR/EnumAttr.td"
include "mlir/IR/AttrTypeBase.td"

def Llm_Axis : I32EnumAttr<"Axis", "what of a matrix is divided", [
    I32EnumAttrCase<"Rows", 0, "rows">,
    I32EnumAttrCase<"Columns", 1, "columns">]> {
  let cppNamespace = "::inlay::llm";
  let genSpecializedAttr = 0;
}

def Llm_ShardAttr : AttrDef<LlmDialect, "Shard"> {
  let mnemonic = "shard";
  let summary = "The part of a source that each rank has.";
  let description = [{
    The rows or columns of the source are `parts` equal parts, and rank r of R has part `r * parts / R`: `parts` divides
    R (`llm.ranks` of the module), and several ranks have the same part where there are fewer parts than ranks. With
    `size` each part has so many rows; what is missing of the last parts is zeros. With `index` all rows of the source
    are that part, and ranks with other parts have none of them: so parts of a weight with several sources are some of
    its sources. It comes after all other parameters of a source.

    | weight | shard on 4 ranks |
    |---|---|
    | queries, gate, up; their biases and scales | `<rows, parts = 4>` |
    | keys and values of 2 heads | `<rows, parts = 2>` |
    | output of attention, down | `<columns, parts = 4>` |
    | head with 259 rows | `<rows, parts = 4, size = 128>` |
    | norm of 4 heads with a tensor each, the second one | `<rows, parts = 4, index = 1>` |

    A source without a shard is the same on all ranks.
  }];
  let parameters = (ins EnumParameter<Llm_Axis>:$axis, "int64_t":$parts, DefaultValuedParameter<"int64_t", "0">:$size,
                        DefaultValuedParameter<"int64_t", "-1">:$index);
  let assemblyFormat = "`<` $axis `,` struct($parts, $size, $index) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Rows or columns of each part of `whole` of them.
    int64_t getPartSize(int64_t whole) const { return getSize() ? getSize() : whole / getParts(); }
    /// Whether a source is a part as a whole.
    bool isWhole() const { return getIndex() >= 0; }
    /// The part of rank `rank` of `ranks`.
    int64_t getPartOf(int64_t rank, int64_t ranks) const { return rank * getParts() / ranks; }
  }];
}

#endif // INLAY_DIALECTS_LLM_SHARDING
