//===- LayoutDemands.h - layouts in which ops take and leave tiles --------===//
//
// Each op says in which layouts it takes its tiles and where it leaves its results. All of that is collected in the
// order of the program and without a change.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_LAYOUTDEMANDS_H
#define INLAY_PASSES_TILE_TO_CUDA_LAYOUTDEMANDS_H

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "passes/tile_to_cuda/AssignLayouts.h"
#include "llvm/ADT/MapVector.h"

namespace inlay {
/// The layouts of a program's tiles, and those in which operands are wanted.
class LayoutDemands {
public:
  explicit LayoutDemands(tile::ProgramOp program) : assignment(program) {}
  mlir::LogicalResult collect(mlir::Block &block) {
    for (mlir::Operation &op : block)
      if (mlir::failed(collect(&op)))
        return mlir::failure();
    return mlir::success();
  }
  mlir::LogicalResult collect(mlir::Operation *op);

  LayoutAssignment assignment;
  llvm::MapVector<mlir::Value, Layout> kept;
  llvm::MapVector<mlir::Value, mlir::Attribute> shared;
  llvm::SmallVector<std::pair<mlir::OpOperand *, Layout>> wanted;

private:
  void keep(mlir::Value tile, const Layout &layout) { kept.insert({tile, layout}); }
  void want(mlir::OpOperand &operand, const Layout &layout) { wanted.push_back({&operand, layout}); }
  mlir::LogicalResult collect(mlir::Region &region, int64_t warps);
  mlir::LogicalResult collectLoop(mlir::scf::ForOp loop);
  mlir::LogicalResult collectBranch(mlir::scf::IfOp branch);
  mlir::LogicalResult collectRegions(mlir::Operation *op);
  mlir::LogicalResult collectVariants(tile::IfAllOp branch);
  mlir::LogicalResult collectLoad(mlir::Operation *load);
  mlir::LogicalResult collectDequantize(tile::DequantizeOp op);
  mlir::LogicalResult collectSlice(mlir::tensor::ExtractSliceOp slice);
  mlir::LogicalResult collectConcat(mlir::tensor::ConcatOp concat);
  mlir::LogicalResult collectReshape(mlir::Operation *reshape);
  mlir::LogicalResult collectReduced(tile::WarpReduceOp reduce);
  mlir::LogicalResult collectParts(tile::ForWarpsOp op);
  mlir::LogicalResult collectMerge(tile::ClusterMergeOp op);
  void keepMerged(mlir::ValueRange merged, const Layout &layout);
  mlir::LogicalResult collectOther(mlir::Operation *op);
};

inline bool isTile(mlir::Value value) { return mlir::isa<mlir::RankedTensorType>(value.getType()); }
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_LAYOUTDEMANDS_H
