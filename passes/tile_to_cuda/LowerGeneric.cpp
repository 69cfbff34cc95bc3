//===- LowerGeneric.cpp - any tile program as one kernel -------------------===//
//
// Tiles become arrays of registers in the layouts of AssignLayouts.h; each op is
// an unrolled loop over a thread's registers. Where a use wants another layout
// than the tile is kept in, the tile goes through shared memory. The right sides
// of products lie in shared memory, brought there by cp.async where they come
// straight from memory; a load is issued as soon as its addresses are known.
//
//===----------------------------------------------------------------------===//
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "passes/tile_to_cuda/Families.h"
#include "passes/tile_to_cuda/GenericLowering.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace inlay;

/// `loc` without the names of the model's ops, which would become names of variables. The kernel's `origin` has them.
static Location withoutNames(Location loc) {
  AttrTypeReplacer replacer;
  auto variable = StringAttr::get(loc.getContext(), "v");
  replacer.addReplacement(
      [=](NameLoc name) -> Attribute { return NameLoc::get(variable, cast<Location>(name.getChildLoc())); });
  return Location(cast<LocationAttr>(replacer.replace(LocationAttr(loc))));
}

LogicalResult GenericLowering::lower(Operation *op) {
  loc = withoutNames(op->getLoc());
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](tile::ProgramIdOp id) {
        Value block = special(static_cast<cuda::Special>(static_cast<int>(cuda::Special::BlockX) + id.getDimension()));
        if (id.getDimension() == 0 && kernel.getCluster() > 1)
          block = arith::DivSIOp::create(b, loc, block, index(kernel.getCluster()));
        scalars[id] = block;
        return success();
      })
      .Case([&](tile::ExtentOp extent) {
        scalars[extent] = cuda::SizeOp::create(b, loc, b.getIndexType(), static_cast<int64_t>(extent.getWhich()));
        return success();
      })
      .Case([&](tile::ClusterRankOp rank) {
        scalars[rank] = kernel.getCluster() > 1 ? clusterRank() : index(0);
        return success();
      })
      .Case([&](tile::ClusterSizeOp size) {
        scalars[size] = index(kernel.getCluster());
        return success();
      })
      .Case([&](tile::ReadOp read) {
        auto type = cast<tile::ViewType>(read.getView().getType());
        Value offset;
        for (auto [dim, at] : llvm::enumerate(read.getOffsets())) {
          Value wide = arith::IndexCastOp::create(b, loc, b.getI64Type(), scalar(at));
          offset = dim == 0 ? wide : add(mul(offset, type.getShape()[dim]), wide);
        }
        scalars[read] = cuda::LoadOp::create(b, loc, type.getElementType(), scalar(read.getView()), offset);
        return success();
      })
      .Case<tile::LoadOp, tile::GatherOp>([&](auto load) {
        Value result = load.getResult();
        if (isStaged(load)) {
          staged[result] = stage(load);
        } else if (layouts.isPulled(result)) {
          scopeOf[result] = scopes.size() - 1;
          if (threads.group == ThreadGroup::Warp)
            if (std::optional<Layout> layout = layouts.demanded(result))
              arrayOf(result, *layout);
        } else {
          define(result, layouts.of(result), loadArray(load, layouts.of(result)));
        }
        return success();
      })
      .Case([&](tile::StoreOp store) {
        return storeTile(store, store.getValue(), store.getView(), store.getOffsets(), {});
      })
      .Case([&](tile::ScatterOp scatter) {
        SmallVector<Value> offsets{Value()};
        if (scatter.getColumn())
          offsets.push_back(scatter.getColumn());
        return storeTile(scatter, scatter.getValue(), scatter.getView(), offsets, scatter.getIndices());
      })
      .Case([&](tile::DotOp product) { return dot(product); })
      .Case([&](tile::ReduceOp reduction) { return reduce(reduction); })
      .Case([&](tile::ArgMaxOp reduction) { return argMax(reduction); })
      .Case([&](tile::DeinterleaveOp split) { return deinterleave(split); })
      .Case([&](tile::TransposeOp turn) { return transpose(turn); })
      .Case([&](tile::ClusterReduceOp reduction) {
        return kept.contains(reduction.getValue()) ? combineKept(reduction) : clusterReduce(reduction);
      })
      .Case([&](tile::RingOp op) { return ring(op); })
      .Case([&](tile::AcquireOp op) { return acquire(op); })
      .Case([&](tile::FetchOp op) { return fetch(op); })
      .Case([&](tile::WaitOp op) { return wait(op); })
      .Case([&](tile::ReleaseOp op) { return release(op); })
      .Case([&](tile::DotAsyncOp op) { return dotAsync(op); })
      .Case([&](tile::DotWaitOp op) { return dotWait(op); })
      .Case([&](tile::DependOp) {
        cuda::DependOp::create(b, loc);
        return success();
      })
      .Case([&](tile::WarpRolesOp op) { return warpRoles(op); })
      .Case([&](tile::ForWarpsOp op) { return forWarps(op); })
      .Case([&](tile::StageOp op) { return stage(op); })
      .Case([&](tile::WarpReduceOp op) { return warpReduce(op); })
      .Case([&](tensor::ConcatOp concat) -> LogicalResult {
        bool isReduced =
            llvm::all_of(concat->getUsers(), [](Operation *user) { return isa<tile::WarpReduceOp>(user); });
        return isReduced && concat.getDim() == 1
                   ? success()
                   : concat.emitOpError("has no CUDA lowering; expected columns that tile.warp_reduce takes");
      })
      .Case([&](tensor::ExtractSliceOp op) { return extractSlice(op); })
      .Case([&](scf::ForOp loop) { return forOp(loop); })
      .Case([&](scf::IfOp branch) { return ifOp(branch); })
      .Case<scf::YieldOp, tile::ReturnOp, tile::YieldOp>([](Operation *) { return success(); })
      .Case([&](tensor::ExtractOp extract) -> LogicalResult {
        RankedTensorType type = tileType(extract.getTensor());
        if (type.getNumElements() != 1)
          return extract.emitOpError() << "of a tile with more than one element has no CUDA lowering";
        Layout layout = layouts.blocked(type);
        prepare(extract.getTensor(), layout);
        scalars[extract] = element(extract.getTensor(), layout, index(0));
        return success();
      })
      .Default([&](Operation *other) -> LogicalResult {
        if (other->getNumResults() == 1 && layouts.isInline(other->getResult(0))) {
          if (auto constant = dyn_cast<arith::ConstantOp>(other);
              constant && !cast<DenseElementsAttr>(constant.getValue()).isSplat())
            return constant.emitOpError() << "of different elements has no CUDA lowering";
          return success();
        }
        if (isElementwise(other)) {
          Value result = other->getResult(0);
          Layout layout = layouts.of(result);
          for (Value operand : other->getOperands())
            if (isa<RankedTensorType>(operand.getType()))
              prepare(operand, layout);
          Value array =
              local(layout.registerCount(), tileType(result).getElementType(), other->getName().stripDialect());
          unrolled(layout.registerCount(), [&](Value reg) {
            SmallVector<Value> operands;
            for (Value operand : other->getOperands())
              operands.push_back(isa<RankedTensorType>(operand.getType()) ? element(operand, layout, reg)
                                                                          : scalar(operand));
            OperationState state(loc, other->getName(), operands, {tileType(result).getElementType()},
                                 other->getAttrs());
            set(b.create(state)->getResult(0), array, reg);
          });
          define(result, layout, array);
          return success();
        }
        bool isScalarOp = other->getNumRegions() == 0 &&
                          llvm::none_of(other->getOperandTypes(), [](Type type) { return isa<TensorType>(type); }) &&
                          llvm::none_of(other->getResultTypes(), [](Type type) { return isa<TensorType>(type); });
        if (!isScalarOp || !isa<arith::ArithDialect, math::MathDialect>(other->getDialect()))
          return other->emitOpError() << "has no CUDA lowering";
        IRMapping mapping;
        for (Value operand : other->getOperands())
          mapping.map(operand, scalar(operand));
        Operation *clone = b.clone(*other, mapping);
        clone->setLoc(loc);
        for (auto [from, to] : llvm::zip_equal(other->getResults(), clone->getResults()))
          scalars[from] = to;
        return success();
      });
}

LogicalResult GenericLowering::lowerBlock(Block &block) {
  for (Operation &op : block)
    if (failed(lower(&op)))
      return failure();
  return success();
}

LogicalResult GenericLowering::run() {
  loc = withoutNames(kernel.getLoc());
  Block &body = kernel.getBody().front();
  b.setInsertionPoint(body.getTerminator());
  for (auto [from, to] : llvm::zip(program.getBody().getArguments(), body.getArguments()))
    scalars[from] = to;
  lane = cuda::SpecialOp::create(b, NameLoc::get(b.getStringAttr("lane"), loc), b.getIndexType(), cuda::Special::Lane);
  warp = cuda::SpecialOp::create(b, NameLoc::get(b.getStringAttr("warp"), loc), b.getIndexType(), cuda::Special::Warp);
  auto marker = cuda::CommentOp::create(b, loc, program.getSymName());
  entryEnd = marker;
  scopes.emplace_back();
  if (failed(lowerBlock(program.getBody().front())))
    return failure();
  // No block leaves while another reads its memory.
  if (leavesCluster)
    call("cluster_leave", "warp.h", {});
  return success();
}

//===----------------------------------------------------------------------===//
// The family
//===----------------------------------------------------------------------===//

/// Moves an op of a branch, and what it is computed from there, before the branch; false where that cannot be.
static bool hoist(Operation *op, scf::IfOp branch) {
  if (!branch->isProperAncestor(op))
    return true;
  bool isLoad = isOfUnwrittenMemory(op);
  if (op->getParentOp() != branch || (!isLoad && !(isMemoryEffectFree(op) && op->getNumRegions() == 0)))
    return false;
  for (Value operand : op->getOperands())
    if (Operation *source = operand.getDefiningOp(); source && !hoist(source, branch))
      return false;
  op->moveBefore(branch);
  return true;
}

/// In tile.for_warps, moves loads out of branches: a load that is not needed costs less than one that is waited for
/// after another. Elements that are not there are masked in a load, so that it may be made anywhere.
static void hoistFromBranches(tile::ProgramOp program) {
  SmallVector<scf::IfOp> branches; // inner ones first
  program.walk([&](scf::IfOp branch) {
    if (branch->getParentOfType<tile::ForWarpsOp>())
      branches.push_back(branch);
  });
  for (scf::IfOp branch : branches)
    for (Region &region : branch->getRegions())
      for (Operation &op : llvm::make_early_inc_range(region.getOps()))
        if (isa<tile::LoadOp, tile::GatherOp>(op))
          hoist(&op, branch);
}

/// Whether no launch of the step writes what a load or gather reads.
static bool isEarly(Operation *load) {
  tile::Provenance provenance = cast<tile::ViewType>(load->getOperand(0).getType()).getProvenance();
  return provenance == tile::Provenance::Weight || provenance == tile::Provenance::Meta;
}

/// Moves `op` up to where its operands are known; with `chain`, those that are pure as well.
static void moveUp(Operation *op, bool chain) {
  Operation *last = nullptr;
  for (Value operand : op->getOperands()) {
    Operation *def = operand.getDefiningOp();
    if (!def || def->getBlock() != op->getBlock())
      continue;
    if (chain && isMemoryEffectFree(def) && def->getNumRegions() == 0)
      moveUp(def, chain);
    if (!last || last->isBeforeInBlock(def))
      last = def;
  }
  // What earlier launches write comes after the wait for them.
  if (chain && isOfUnwrittenMemory(op) && !isEarly(op))
    for (auto depend : op->getBlock()->getOps<tile::DependOp>())
      if (depend->isBeforeInBlock(op) && (!last || last->isBeforeInBlock(depend)))
        last = depend;
  if (last)
    op->moveAfter(last);
  else if (chain)
    op->moveBefore(op->getBlock(), op->getBlock()->begin());
}

/// Moves loads of memory that the program does not write up to where their operands are known, so that they are under
/// way while other work is done.
static void hoistLoads(tile::ProgramOp program) {
  SmallVector<Operation *> loads, ofWarps;
  program.walk([&](Operation *op) {
    if (isOfUnwrittenMemory(op))
      (op->getParentOfType<tile::ForWarpsOp>() ? ofWarps : loads).push_back(op);
  });
  // Last to first, so that loads that wait for the same operand keep their order.
  for (Operation *load : llvm::reverse(loads))
    moveUp(load, /*chain=*/false);
  // First to last, since the addresses of some are loaded by others.
  for (Operation *load : ofWarps)
    moveUp(load, /*chain=*/true);
}

/// The threads of a block: those of its roles, or as many as the tiles ask for.
static int64_t threadsOf(tile::ProgramOp program, const LayoutAssignment &layouts) {
  int64_t threads = layouts.threads();
  program.walk([&](tile::WarpReduceOp reduce) {
    threads = 32 * static_cast<int64_t>(reduce->getParentOfType<tile::ForWarpsOp>().getCount());
  });
  program.walk([&](tile::WarpRolesOp roles) { threads = 32 * (roles.getConsumers() + roles.getProducers()); });
  return threads;
}

LogicalResult inlay::lowerGeneric(tile::ProgramOp program, OpBuilder &builder) {
  tile::Schedule schedule = program.getScheduleAttr();
  std::optional<tile::PipelineShape> pipeline = schedule ? schedule.getPipeline() : std::nullopt;
  bool hasRoles = program.walk([](tile::WarpRolesOp) { return WalkResult::interrupt(); }).wasInterrupted();
  bool hasWarpRings =
      program
          .walk([](tile::DependOp depend) {
            return isa<tile::ForWarpsOp>(depend->getParentOp()) ? WalkResult::interrupt() : WalkResult::advance();
          })
          .wasInterrupted();
  if (pipeline && !(pipeline->producers ? hasRoles : hasWarpRings))
    return program.emitError("has the schedule ")
           << schedule << " and no warps that fetch; run tile-apply-schedule, tile-assign-stages, "
           << "tile-specialize-warps and tile-pipeline first";
  OwningOpRef<tile::ProgramOp> copy = program.clone();
  hoistFromBranches(*copy);
  hoistLoads(*copy);
  LayoutAssignment layouts(*copy);
  FetchMaps maps;
  if (failed(collectTensorMaps(*copy, maps)))
    return failure();
  FailureOr<cuda::KernelOp> kernel = createKernel(program, builder, threadsOf(program, layouts), maps.maps.size());
  if (failed(kernel))
    return failure();
  if (!maps.maps.empty())
    setTensorMaps(*kernel, maps.maps);
  GenericLowering lowering(*copy, *kernel, layouts, maps);
  if (failed(lowering.run()))
    return failure();
  if (lowering.conversions > 0)
    program.emitRemark() << lowering.conversions << " layout conversions through shared memory";
  if (auto generic = dyn_cast_or_null<tile::GenericAttr>(schedule))
    kernel->setMinBlocks(generic.getSlots());
  if (pipeline) {
    kernel->setMinBlocks(pipeline->slots);
    kernel->setSharedBytes(pipeline->sharedBytes);
  }
  return success();
}
