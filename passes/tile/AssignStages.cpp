//===- AssignStages.cpp - operands of products through rings ---------------===//

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"
#include "passes/tile/Divisors.h"
#include "passes/tile/Passes.h"
#include "passes/tile/Pipelining.h"

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

/// The load or gather that brings an operand of `dot` and feeds nothing else, or products beside it, in the loop around
/// it; null if there is none. Gathered rows may be widened on the way.
static Operation *loadOf(tile::DotOp dot, Value operand) {
  Operation *load = operand.getDefiningOp();
  if (auto wide = dyn_cast_or_null<arith::ExtFOp>(load); wide && wide->hasOneUse())
    load = wide.getIn().getDefiningOp<tile::GatherOp>();
  bool feedsProducts = isa_and_nonnull<tile::LoadOp, tile::GatherOp>(load) && load->getBlock() == dot->getBlock() &&
                       (load->hasOneUse() || llvm::all_of(load->getUsers(), [&](Operation *user) {
                          return isa<tile::DotOp>(user) && user->getBlock() == dot->getBlock();
                        }));
  return feedsProducts ? load : nullptr;
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

/// Collects the loads of scales that `factor` is made of. False where it is something else.
static bool collectScales(Value factor, SmallVectorImpl<tile::LoadOp> &loads) {
  if (auto product = factor.getDefiningOp<arith::MulFOp>())
    return collectScales(product.getLhs(), loads) && collectScales(product.getRhs(), loads);
  auto broadcast = factor.getDefiningOp<tile::BroadcastOp>();
  auto column = broadcast ? broadcast.getValue().getDefiningOp<tensor::ExtractSliceOp>() : tensor::ExtractSliceOp();
  if (!column)
    return false;
  if (auto load = column.getSource().getDefiningOp<tile::LoadOp>())
    loads.push_back(load);
  return true;
}

std::optional<StepProduct> inlay::findStepProduct(tile::DotOp dot) {
  if (!isa<scf::ForOp>(dot->getParentOp()) || !matchPattern(dot.getAccumulator(), m_AnyZeroFloat()) ||
      !dot->hasOneUse())
    return std::nullopt;
  StepProduct result;
  Operation *user = *dot->user_begin();
  if (auto scaled = dyn_cast<arith::MulFOp>(user)) {
    if (!collectScales(scaled.getRhs(), result.scales) || !scaled->hasOneUse())
      return std::nullopt;
    user = *scaled->user_begin();
  }
  result.add = dyn_cast<arith::AddFOp>(user);
  return result.add ? std::optional(result) : std::nullopt;
}

/// The products in loops whose right operands are loaded; those with one loaded left operand together.
static SmallVector<SmallVector<tile::DotOp>> stagedProducts(tile::ProgramOp program) {
  SmallVector<SmallVector<tile::DotOp>> products;
  program.walk([&](tile::DotOp dot) {
    if (!isa<scf::ForOp>(dot->getParentOp()) || !loadOf(dot, dot.getRhs()))
      return;
    auto shared = llvm::find_if(products, [&](ArrayRef<tile::DotOp> others) {
      tile::DotOp first = others.front();
      return loadOf(dot, dot.getLhs()) && first.getLhs() == dot.getLhs();
    });
    if (shared == products.end())
      products.push_back({dot});
    else
      shared->push_back(dot);
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

/// Brings the operands of products that are loaded in their loop through a ring of their own.
static LogicalResult stage(ArrayRef<tile::DotOp> products, tile::ProgramOp program,
                           const tile::PipelineShape &pipeline) {
  SmallVector<Operation *> loads;
  SmallVector<Value> operands;
  for (tile::DotOp dot : products)
    for (Value operand : {dot.getLhs(), dot.getRhs()})
      for (Operation *load : loadsOf(dot, operand))
        if (!llvm::is_contained(loads, load)) {
          loads.push_back(load);
          operands.push_back(load == loadOf(dot, operand) ? operand : load->getResult(0));
        }
  bool areScaled = false;
  for (tile::DotOp dot : products)
    if (std::optional<StepProduct> step = findStepProduct(dot))
      for (tile::LoadOp load : step->scales) {
        areScaled = true;
        if (llvm::is_contained(loads, load))
          continue;
        loads.push_back(load);
        operands.push_back(load.getResult());
      }
  SmallVector<Type> tiles(ValueRange(operands).getTypes());
  tile::DotOp dot = products.front(), last = products.back();
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
  for (auto [op, operand, tile] : llvm::zip_equal(loads, operands, wait.getTiles())) {
    Value value = tile;
    // Rows that are summed over must be numbers, also where their weights are 0.
    auto gather = dyn_cast<tile::GatherOp>(op);
    if (gather && operand == dot.getRhs() && !dot.getTransposeRhs())
      value = tile::ClearRowsOp::create(b, loc, value, heldOf(b, loc, gather.getIndices()), kRun);
    operand.replaceAllUsesWith(value);
    Operation *widened = operand.getDefiningOp();
    widened->erase();
    if (widened != op)
      op->erase();
  }
  // Scales are read from the slot after the products.
  if (areScaled)
    b.setInsertionPoint(last->getBlock()->getTerminator());
  else
    b.setInsertionPointAfter(last);
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

namespace {
/// Where gathered rows are an operand of a product.
struct RowsOperand {
  tile::DotOp dot; // null if they are of none
  Value operand;
  bool isTransposed = false;
  /// Whether the product sums over the rows.
  bool isSummed() {
    bool isInner = operand == dot.getRhs() && !dot.getTransposeRhs(); // the right operand is K x N
    return isInner != isTransposed;
  }
};
} // namespace

/// Follows rows to their product, through widening and a transpose.
static RowsOperand operandOf(tile::GatherOp gather) {
  RowsOperand result{{}, gather.getResult()};
  auto user = [&]() -> Operation * { return result.operand.hasOneUse() ? *result.operand.user_begin() : nullptr; };
  if (isa_and_nonnull<arith::ExtFOp>(user()))
    result.operand = user()->getResult(0);
  if (isa_and_nonnull<tile::TransposeOp>(user())) {
    result.operand = user()->getResult(0);
    result.isTransposed = true;
  }
  result.dot = dyn_cast_or_null<tile::DotOp>(user());
  return result;
}

/// Brings cached rows that products in a loop of `warps` take through a ring of each warp.
static LogicalResult stageRowsInWarps(tile::ForWarpsOp warps, const tile::PipelineShape &pipeline) {
  SmallVector<tile::GatherOp> gathers;
  warps.walk([&](tile::GatherOp gather) {
    tile::DotOp dot = operandOf(gather).dot;
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
    RowsOperand rows = operandOf(gather);
    bool isSummed = rows.isSummed();
    b.setInsertionPoint(*gather->user_begin());
    Value slot = tile::AcquireOp::create(b, loc, b.getIndexType(), ring, /*first=*/Value());
    tile::FetchRowsOp::create(b, gather.getLoc(), gather.getView(), gather.getIndices(), kRun, ring, slot, 0);
    Value value = tile::WaitOp::create(b, loc, TypeRange(tile), ring).getTiles().front();
    if (isSummed)
      value = tile::ClearRowsOp::create(b, loc, value, heldOf(b, loc, gather.getIndices()), kRun);
    gather.getResult().replaceAllUsesWith(value);
    gather->erase();
    b.setInsertionPointAfter(rows.dot);
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
  SmallVector<SmallVector<tile::DotOp>> products = stagedProducts(program);
  if (static_cast<int64_t>(products.size()) != pipeline->products) {
    bool isOne = pipeline->products == 1;
    program.emitError("has ") << products.size() << " products of loaded tiles in loops; expected "
                              << (isOne ? std::string("one, for the ring")
                                        : std::to_string(pipeline->products) + ", for the rings")
                              << " of its schedule " << schedule;
    return signalPassFailure();
  }
  for (ArrayRef<tile::DotOp> together : products) {
    if (failed(stage(together, program, *pipeline)))
      return signalPassFailure();
    for (tile::DotOp dot : together)
      stageLeft(dot);
  }
}
