//===- LowerGeneric.cpp - any tile program as one kernel -------------------===//
//
// Tiles become arrays of registers in the layouts of their types; each op is an
// unrolled loop over a thread's registers. The right sides of products lie in shared
// memory, brought there by cp.async where they come straight from memory.
//
//===----------------------------------------------------------------------===//
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "passes/tile_to_cuda/CreateKernel.h"
#include "passes/tile_to_cuda/GenericLowering.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/SaveAndRestore.h"

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

/// Whether a load reads what the host wrote before the step.
static bool isOfHost(Operation *load) {
  return cast<tile::ViewType>(load->getOperand(0).getType()).getProvenance() == tile::Provenance::Meta;
}

/// Whether `load` stands before the threads wait for other ranks, so that it is made before they do.
bool GenericLowering::comesBeforeRanks(Operation *load) {
  return receivedSum && load->getBlock() == receivedSum->getBlock() && load->isBeforeInBlock(receivedSum);
}

LogicalResult GenericLowering::lower(Operation *op) {
  loc = withoutNames(op->getLoc());
  if (op == pushesBegin && !isa<tile::WarpRolesOp>(op))
    pushes = beginPushes();
  if (op == clusterUser)
    call("cluster_barrier", "warp.h", {});
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
        bool isBeforeRanks = comesBeforeRanks(load);
        llvm::SaveAndRestore early(isEarly, isBeforeRanks && beginsEarly());
        if (auto shared = dyn_cast<tile::SharedAttr>(tileType(result).getEncoding())) {
          staged[result] = stage(load, shared);
        } else if (isPulled(result)) {
          scopeOf[result] = scopes.size() - 1;
          // What the host wrote is read before earlier launches are waited for, and pages before a slot is.
          bool isOutOfLoop = threads.group == ThreadGroup::Role && !load->template getParentOfType<scf::ForOp>();
          if (threads.group == ThreadGroup::Warp || threads.group == ThreadGroup::Fetch ||
              (isOutOfLoop && isOfHost(load)) || isBeforeRanks)
            arrayOf(result);
        } else {
          define(result, loadArray(load));
        }
        return success();
      })
      .Case([&](tile::ReceiveSumOp sum) { return receiveSum(sum); })
      .Case([&](tile::StoreOp store) {
        return storeTile(store, store.getValue(), store.getView(), store.getOffsets(), {},
                         store.getExchange() ? pushes : Value());
      })
      .Case([&](tile::ScatterOp scatter) {
        SmallVector<Value> offsets{Value()};
        if (scatter.getColumn())
          offsets.push_back(scatter.getColumn());
        return storeTile(scatter, scatter.getValue(), scatter.getView(), offsets, scatter.getIndices());
      })
      .Case([&](tile::DotOp product) { return dot(product); })
      .Case([&](tile::DequantizeOp op) { return dequantize(op); })
      .Case([&](tile::ReduceOp reduction) { return reduce(reduction); })
      .Case([&](tile::ArgMaxOp reduction) { return argMax(reduction); })
      .Case([&](tile::DeinterleaveOp split) { return deinterleave(split); })
      .Case([&](tile::TransposeOp turn) { return transpose(turn); })
      .Case([&](tile::ConvertLayoutOp conversion) {
        scopeOf[conversion] = scopes.size() - 1;
        return success();
      })
      .Case([&](tile::ClusterReduceOp reduction) {
        return kept.contains(reduction.getValue()) ? combineKept(reduction) : clusterReduce(reduction);
      })
      .Case([&](tile::RingOp op) { return ring(op); })
      .Case([&](tile::AcquireOp op) { return acquire(op); })
      .Case([&](tile::FetchOp op) { return fetch(op); })
      .Case([&](tile::FetchRowsOp op) { return fetchRows(op); })
      .Case([&](tile::ClearRowsOp op) { return clearRows(op); })
      .Case([&](tile::WaitOp op) { return wait(op); })
      .Case([&](tile::ReleaseOp op) { return release(op); })
      .Case([&](tile::DotAsyncOp op) { return dotAsync(op); })
      .Case([&](tile::DotWaitOp op) { return dotWait(op); })
      .Case([&](tile::InTurnOp op) { return inTurn(op); })
      .Case([&](tile::IfAllOp op) { return ifAll(op); })
      .Case([&](tile::DependOp) {
        cuda::DependOp::create(b, loc);
        return success();
      })
      .Case([&](tile::WarpRolesOp op) { return warpRoles(op); })
      .Case([&](tile::ForWarpsOp op) { return forWarps(op); })
      .Case([&](tile::ClusterMergeOp op) { return clusterMerge(op); })
      .Case([&](tile::StageOp op) { return stage(op); })
      .Case([&](tile::WarpReduceOp op) { return warpReduce(op); })
      .Case([&](tensor::ConcatOp op) { return concat(op); })
      .Case<tensor::CollapseShapeOp, tensor::ExpandShapeOp>([&](auto reshape) {
        define(reshape.getResult(), materialize(reshape.getSrc(), "reshaped"));
        return success();
      })
      .Case([&](tensor::ExtractSliceOp op) { return extractSlice(op); })
      .Case([&](scf::ForOp loop) { return forOp(loop); })
      .Case([&](scf::IfOp branch) { return ifOp(branch); })
      .Case<scf::YieldOp, tile::ReturnOp, tile::YieldOp>([](Operation *) { return success(); })
      .Case([&](tensor::ExtractOp extract) -> LogicalResult {
        RankedTensorType type = tileType(extract.getTensor());
        Layout layout = registerLayout(extract.getTensor());
        prepare(extract.getTensor());
        Value value = element(extract.getTensor(), index(0));
        if (type.getNumElements() > 1) {
          bool isInWarp = layout == blockedLayout(type.getShape(), 1, 0) && layout.size(LayoutDim::Register) == 1;
          if (type.getRank() != 1 || threads.group != ThreadGroup::Warp || !isInWarp)
            return extract.emitOpError() << "takes an element of " << type.dropEncoding()
                                         << "; expected a tile of one element, or of one for each lane of a warp";
          value = call("shuffle_from", "warp.h", {value, scalar(extract.getIndices()[0])}, type.getElementType());
        }
        scalars[extract] = value;
        return success();
      })
      .Default([&](Operation *other) -> LogicalResult {
        if (other->getNumResults() == 1 && computed.contains(other->getResult(0)))
          return success();
        if (isa<arith::ExtFOp>(other) && ringTiles.contains(other->getOperand(0))) {
          auto place = ringTiles.lookup(other->getOperand(0)); // the product that reads the slot widens
          ringTiles[other->getResult(0)] = place;
          return success();
        }
        if (isElementwise(other)) {
          Value result = other->getResult(0);
          int64_t registers = registerLayout(result).size(LayoutDim::Register);
          for (Value operand : other->getOperands())
            if (isa<RankedTensorType>(operand.getType()))
              prepare(operand);
          Value array = local(registers, tileType(result).getElementType(), other->getName().stripDialect());
          computeElements(other, array);
          define(result, array);
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
  for (auto merge : block.getOps<tile::ClusterMergeOp>())
    announceMerge(merge);
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
  if (beginsEarly()) {
    llvm::SaveAndRestore early(isEarly, true);
    beginExchange();
    arriveAndClear();
  }
  if (failed(lowerBlock(program.getBody().front())))
    return failure();
  endExchange();
  // No block leaves while another reads its memory.
  if (leavesCluster)
    call("cluster_leave", "warp.h", {});
  return success();
}

//===----------------------------------------------------------------------===//
// The family
//===----------------------------------------------------------------------===//

/// The warps among which tiles are divided, outside of roles and of tile.for_warps. Fails with a diagnostic where
/// layouts are not assigned.
static FailureOr<int64_t> warpsOf(tile::ProgramOp program) {
  auto warps = program->getAttrOfType<IntegerAttr>(tile::kWarpsAttr);
  if (!warps)
    return program.emitError("has tiles without layouts; run tile-assign-layouts first");
  return warps.getInt();
}

/// The threads of a block: those of its roles, or as many as the tiles ask for.
static int64_t threadsOf(tile::ProgramOp program, int64_t warps) {
  program.walk([&](tile::WarpReduceOp reduce) { warps = reduce->getParentOfType<tile::ForWarpsOp>().getCount(); });
  program.walk([&](tile::WarpRolesOp roles) { warps = roles.getConsumers() + roles.getProducers(); });
  return 32 * warps;
}

LogicalResult inlay::lowerGeneric(tile::ProgramOp program, OpBuilder &builder) {
  tile::Schedule schedule = program.getScheduleAttr();
  if (!isScheduled(program))
    return program.emitError("has no schedule of the family ")
           << schedule.getFamilyName() << " yet; run tile-select-schedule and tile-apply-schedule first";
  std::optional<tile::PipelineShape> pipeline = schedule ? schedule.getPipeline() : std::nullopt;
  bool hasRoles = program.walk([](tile::WarpRolesOp) { return WalkResult::interrupt(); }).wasInterrupted();
  bool hasWarpRings =
      program.walk([](tile::RingOp ring) { return WalkResult(failure(ring.isOfWarp())); }).wasInterrupted();
  if (pipeline && !(pipeline->producers ? hasRoles : hasWarpRings))
    return program.emitError("has the schedule ")
           << schedule << " and no warps that fetch; run tile-apply-schedule, tile-assign-stages, "
           << "tile-specialize-warps and tile-pipeline first";
  FailureOr<int64_t> warps = warpsOf(program);
  FetchMaps maps;
  if (failed(warps) || failed(checkLayouts(program)) || failed(collectTensorMaps(program, maps)))
    return failure();
  FailureOr<cuda::KernelOp> kernel = createKernel(program, builder, threadsOf(program, *warps), maps.maps.size());
  if (failed(kernel))
    return failure();
  if (!maps.maps.empty())
    setTensorMaps(*kernel, maps.maps);
  GenericLowering lowering(program, *kernel, *warps, maps);
  if (failed(lowering.run()))
    return failure();
  if (auto generic = dyn_cast_or_null<tile::GenericAttr>(schedule))
    kernel->setMinBlocks(generic.getSlots());
  if (pipeline) {
    kernel->setMinBlocks(pipeline->slots);
    kernel->setSharedBytes(pipeline->sharedBytes);
  }
  return success();
}
