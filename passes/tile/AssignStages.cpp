//===- AssignStages.cpp - operands of products through rings ---------------===//

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"
#include "passes/tile/Divisors.h"
#include "passes/tile/Passes.h"

namespace inlay {
#define GEN_PASS_DEF_ASSIGNSTAGESPASS
#include "passes/tile/Passes.h.inc"
} // namespace inlay

using namespace mlir;
using namespace inlay;

namespace {
struct AssignStagesPass : inlay::impl::AssignStagesPassBase<AssignStagesPass> {
  void runOnOperation() override;
};
} // namespace

/// Rows that one copy of gathered rows brings.
static constexpr int64_t kRun = 16;

/// The load or gather that brings an operand of `dot` and feeds nothing else, in the loop around it; null if there is
/// none.
static Operation *loadOf(tile::DotOp dot, Value operand) {
  Operation *load = operand.getDefiningOp();
  return isa_and_nonnull<tile::LoadOp, tile::GatherOp>(load) && load->getBlock() == dot->getBlock() && load->hasOneUse()
             ? load
             : nullptr;
}

/// The loads that bring an operand of `dot`: one, or those of codes and what they are dequantized with.
static SmallVector<Operation *> loadsOf(tile::DotOp dot, Value operand) {
  if (Operation *load = loadOf(dot, operand))
    return {load};
  SmallVector<Operation *> loads;
  if (auto dequantize = operand.getDefiningOp<tile::DequantizeOp>())
    for (Value source : dequantize->getOperands())
      if (Operation *load = loadOf(dot, source))
        loads.push_back(load);
  return loads;
}

/// The products in loops whose right operands are loaded.
static SmallVector<tile::DotOp> stagedProducts(tile::ProgramOp program) {
  SmallVector<tile::DotOp> products;
  program.walk([&](tile::DotOp dot) {
    if (isa<scf::ForOp>(dot->getParentOp()) && loadOf(dot, dot.getRhs()))
      products.push_back(dot);
  });
  return products;
}

/// The tile of bools that says which of `indices` are not negative.
static Value heldOf(OpBuilder &b, Location loc, Value indices) {
  DenseIntElementsAttr other;
  if (auto select = indices.getDefiningOp<arith::SelectOp>())
    if (matchPattern(select.getFalseValue(), m_Constant(&other)) && other.isSplat() &&
        other.getSplatValue<APInt>().isNegative())
      return select.getCondition();
  Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(indices.getType()));
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sge, indices, zero);
}

/// Brings the operands of a product that are loaded in its loop through a ring of their own.
static LogicalResult stage(tile::DotOp dot, tile::ProgramOp program, const tile::PipelineShape &pipeline) {
  SmallVector<Operation *> loads;
  SmallVector<Type> tiles;
  for (Value operand : {dot.getLhs(), dot.getRhs()})
    for (Operation *load : loadsOf(dot, operand)) {
      loads.push_back(load);
      tiles.push_back(load->getResult(0).getType());
    }
  OpBuilder b = OpBuilder::atBlockBegin(&program.getBody().front());
  Location loc = dot.getLoc();
  auto ring = tile::RingOp::create(b, loc, tile::RingType::get(b.getContext(), pipeline.stages, tiles));

  b.setInsertionPoint(dot);
  if (auto dequantize = dot.getLhs().getDefiningOp<tile::DequantizeOp>())
    b.setInsertionPoint(dequantize);
  Value slot = tile::AcquireOp::create(b, loc, b.getIndexType(), ring, /*first=*/Value());
  for (auto [i, op] : llvm::enumerate(loads)) {
    if (auto load = dyn_cast<tile::LoadOp>(op)) {
      bool isStreamed = pipeline.streamsWeights && load.getView().getType().getProvenance() == tile::Provenance::Weight;
      tile::FetchOp::create(b, load.getLoc(), load.getView(), load.getOffsets(), ring, slot, i, isStreamed,
                            /*unwritten=*/false);
      continue;
    }
    auto gather = cast<tile::GatherOp>(op);
    if (!comeInRuns(gather.getIndices(), kRun) || !matchPattern(gather.getColumn(), m_Zero()))
      return gather.emitError("gathers the operand of a product at indices that do not follow each other in runs of ")
             << kRun << "; the schedule " << program.getScheduleAttr() << " copies such runs";
    tile::FetchRowsOp::create(b, gather.getLoc(), gather.getView(), gather.getIndices(), kRun, ring, slot, i);
  }
  auto wait = tile::WaitOp::create(b, loc, tiles, ring);
  for (auto [op, tile] : llvm::zip_equal(loads, wait.getTiles())) {
    Value value = tile;
    // Rows that are summed over must be numbers, also where their weights are 0.
    auto gather = dyn_cast<tile::GatherOp>(op);
    if (gather && op->getResult(0) == dot.getRhs() && !dot.getTransposeRhs())
      value = tile::ClearRowsOp::create(b, loc, value, heldOf(b, loc, gather.getIndices()), kRun);
    op->getResult(0).replaceAllUsesWith(value);
    op->erase();
  }
  b.setInsertionPointAfter(dot);
  tile::ReleaseOp::create(b, loc, ring);
  return success();
}

/// Keeps a left operand that the loop does not change where asynchronous products read it.
static void stageLeft(tile::DotOp dot) {
  auto loop = cast<scf::ForOp>(dot->getParentOp());
  Operation *source = dot.getLhs().getDefiningOp();
  if (!source || loop->isAncestor(source))
    return;
  OpBuilder b(loop);
  auto staged = tile::StageOp::create(b, dot.getLoc(), dot.getLhs());
  dot.getLhsMutable().assign(staged);
}

/// The product that a tile is an operand of, as it is or transposed; null if there is none.
static tile::DotOp productOf(tile::GatherOp gather) {
  if (!gather->hasOneUse())
    return {};
  Operation *user = *gather->user_begin();
  if (isa<tile::TransposeOp>(user) && user->hasOneUse())
    user = *user->user_begin();
  return dyn_cast<tile::DotOp>(user);
}

/// Whether `dot` sums over the rows of what `gather` brings.
static bool sumsOverRows(tile::GatherOp gather, tile::DotOp dot) {
  bool isTransposed = isa<tile::TransposeOp>(*gather->user_begin());
  Value operand = isTransposed ? Value(gather->user_begin()->getResult(0)) : Value(gather.getResult());
  bool isInner = operand == dot.getRhs() && !dot.getTransposeRhs(); // the right operand is K x N
  return isInner != isTransposed;
}

/// Brings cached rows that products in a loop of `warps` take through a ring of each warp.
static LogicalResult stageRowsInWarps(tile::ForWarpsOp warps, const tile::PipelineShape &pipeline) {
  SmallVector<tile::GatherOp> gathers;
  warps.walk([&](tile::GatherOp gather) {
    tile::DotOp dot = productOf(gather);
    if (dot && dot->getBlock() == gather->getBlock() && isa<scf::ForOp>(dot->getParentOp()))
      gathers.push_back(gather);
  });
  auto schedule = warps->getParentOfType<tile::ProgramOp>().getScheduleAttr();
  if (static_cast<int64_t>(gathers.size()) != pipeline.products)
    return warps.emitError("has ") << gathers.size() << " products of gathered tiles in loops; expected "
                                   << pipeline.products << ", for the ring of its schedule " << schedule;
  OpBuilder b = OpBuilder::atBlockBegin(&warps.getBody().front());
  Location loc = warps.getLoc();
  Type tile = gathers.front().getType();
  auto ring = tile::RingOp::create(b, loc, tile::RingType::get(b.getContext(), pipeline.stages, {tile}));
  for (tile::GatherOp gather : gathers) {
    if (gather.getType() != tile)
      return gather.emitError("gathers ") << gather.getType() << ", and the products before " << tile
                                          << "; the ring of a warp has tiles of one type";
    if (gather.getType().getDimSize(0) != kRun || !comeInRuns(gather.getIndices(), kRun) ||
        !matchPattern(gather.getColumn(), m_Zero()))
      return gather.emitError("gathers the operand of a product at indices that are no run of ")
             << kRun << " that follow each other; the schedule " << schedule << " copies one";
    tile::DotOp dot = productOf(gather);
    bool isSummed = sumsOverRows(gather, dot);
    b.setInsertionPoint(*gather->user_begin());
    Value slot = tile::AcquireOp::create(b, loc, b.getIndexType(), ring, /*first=*/Value());
    tile::FetchRowsOp::create(b, gather.getLoc(), gather.getView(), gather.getIndices(), kRun, ring, slot, 0);
    Value value = tile::WaitOp::create(b, loc, TypeRange(tile), ring).getTiles().front();
    if (isSummed)
      value = tile::ClearRowsOp::create(b, loc, value, heldOf(b, loc, gather.getIndices()), kRun);
    gather.getResult().replaceAllUsesWith(value);
    gather->erase();
    b.setInsertionPointAfter(dot);
    tile::ReleaseOp::create(b, loc, ring);
  }
  return success();
}

/// The loads of weights that an operand of `dot` comes from: one, or those of codes, scales and zero points. Empty if
/// there are none.
static SmallVector<tile::LoadOp> weightsOf(tile::DotOp dot) {
  SmallVector<tile::LoadOp> loads;
  for (Value operand : {dot.getLhs(), dot.getRhs()})
    for (Operation *op : loadsOf(dot, operand))
      if (auto load = dyn_cast<tile::LoadOp>(op);
          load && load.getView().getType().getProvenance() == tile::Provenance::Weight)
        loads.push_back(load);
  return loads;
}

/// Brings the weights of the products in `warps` through a ring of each warp. False where there are none, or where
/// their tiles differ.
static bool stageWeightsInWarps(tile::ForWarpsOp warps, const tile::PipelineShape &pipeline) {
  struct Product {
    tile::DotOp dot;
    SmallVector<tile::LoadOp> loads;
    SmallVector<Type> types;
  };
  SmallVector<Product> products;
  warps.walk([&](tile::DotOp dot) {
    Product product{dot, weightsOf(dot), {}};
    for (tile::LoadOp load : product.loads)
      product.types.push_back(load.getType());
    if (!product.loads.empty())
      products.push_back(std::move(product));
  });
  if (products.empty() ||
      !llvm::all_equal(llvm::map_range(products, [](const Product &product) { return ArrayRef(product.types); })))
    return false;
  OpBuilder b = OpBuilder::atBlockBegin(&warps.getBody().front());
  Location loc = warps.getLoc();
  auto ring = tile::RingOp::create(b, loc, tile::RingType::get(b.getContext(), pipeline.stages, products[0].types));
  for (Product &product : products) {
    Operation *user = *product.loads.front()->user_begin(); // the product, or what dequantizes its codes
    b.setInsertionPoint(user);
    Value slot = tile::AcquireOp::create(b, loc, b.getIndexType(), ring, /*first=*/Value());
    for (auto [i, load] : llvm::enumerate(product.loads))
      tile::FetchOp::create(b, load.getLoc(), load.getView(), load.getOffsets(), ring, slot, i,
                            pipeline.streamsWeights);
    auto wait = tile::WaitOp::create(b, loc, product.types, ring);
    for (auto [load, tile] : llvm::zip_equal(product.loads, wait.getTiles())) {
      load.getResult().replaceAllUsesWith(tile);
      load->erase();
    }
    b.setInsertionPointAfter(product.dot);
    tile::ReleaseOp::create(b, loc, ring);
  }
  return true;
}

/// Warps that fetch for themselves, in the one tile.for_warps of the program.
static LogicalResult stageInWarps(tile::ProgramOp program, const tile::PipelineShape &pipeline) {
  tile::Schedule schedule = program.getScheduleAttr();
  SmallVector<tile::ForWarpsOp> all;
  program.walk([&](tile::ForWarpsOp warps) { all.push_back(warps); });
  bool isAttention = schedule.getAttentionTile().has_value();
  if (isAttention && all.size() == 1)
    return stageRowsInWarps(all.front(), pipeline);
  if (isAttention)
    return program.emitError("has ") << all.size() << " tile.for_warps; expected one, for the rings of its schedule "
                                     << schedule << "; run tile-apply-schedule first";
  if (all.size() == 1 && stageWeightsInWarps(all.front(), pipeline))
    return success();
  return program.emitError("has no tile.for_warps with products of loaded weights of one size, for the rings of its "
                           "schedule ")
         << schedule;
}

void AssignStagesPass::runOnOperation() {
  tile::ProgramOp program = getOperation();
  tile::Schedule schedule = program.getScheduleAttr();
  std::optional<tile::PipelineShape> pipeline = schedule ? schedule.getPipeline() : std::nullopt;
  if (!pipeline)
    return;
  if (pipeline->producers == 0) {
    if (failed(stageInWarps(program, *pipeline)))
      signalPassFailure();
    return;
  }
  SmallVector<tile::DotOp> products = stagedProducts(program);
  if (static_cast<int64_t>(products.size()) != pipeline->products) {
    bool isOne = pipeline->products == 1;
    program.emitError("has ") << products.size() << " products of loaded tiles in loops; expected "
                              << (isOne ? std::string("one, for the ring")
                                        : std::to_string(pipeline->products) + ", for the rings")
                              << " of its schedule " << schedule;
    return signalPassFailure();
  }
  for (tile::DotOp dot : products) {
    if (failed(stage(dot, program, *pipeline)))
      return signalPassFailure();
    stageLeft(dot);
  }
}
