//===- TileInterfaces.td - what all schedules of programs say --------------===//

#ifndef INLAY_DIALECTS_TILE_INTERFACES
#define INLAY_DIALECTS_TILE_INTERFACES

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/OpBase.td"

def Tile_Schedule : AttrInterface<"Schedule"> {
  let cppNamespace = "::inlay::tile";
  let description = "How a program is run on a GPU. One attribute for each kernel family implements it (TileSchedules.td).";
  let methods = [
    InterfaceMethod<"The kernel family that the program is lowered by, as errors and remarks name it.",
                    "::llvm::StringRef", "getFamilyName">,
    InterfaceMethod<"The blocks of a cluster, which share a program id.", "int64_t", "getClusterBlocks", (ins), "",
                    "return 1;">,
    InterfaceMethod<"Rings and the warps at both ends of them; none where loads stay in the loop.",
                    "::std::optional<::inlay::tile::PipelineShape>", "getPipeline", (ins), "", "return ::std::nullopt;">,
    InterfaceMethod<"The tile that tile-apply-schedule gives a program of attention; none: the program keeps its own.",
                    "std::optional<::inlay::tile::AttentionTile>", "getAttentionTile", (ins), "",
                    "return std::nullopt;">,
    InterfaceMethod<"Whether tile-select-schedule has yet to choose.", "bool", "isPending", (ins), "", "return false;">,
  ];
}

#endif // INLAY_DIALECTS_TILE_INTERFACES
