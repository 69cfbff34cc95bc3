//===- GenericWarps.cpp - work of warps, and tiles in shared memory --------===//
//
// Roles are branches over the warps of a block. While one is built, tiles are divided
// over its warps and barriers are those of its threads; in tile.for_warps a warp has
// its tiles alone. Staged tiles stay in shared memory until a slice is used.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "passes/tile_to_cuda/GenericLowering.h"
#include "passes/tile_to_cuda/KernelBuilder.h"
#include "passes/tile_to_cuda/MmaInstructions.h"

#include <numeric>

using namespace mlir;
using namespace inlay;

/// The barrier of the warps that multiply.
static constexpr int64_t kConsumerBarrier = 1;

void TileValues::barrier() {
  switch (threads.group) {
  case ThreadGroup::Block:
    cuda::BarrierOp::create(b, loc, IntegerAttr(), IntegerAttr());
    break;
  case ThreadGroup::Role:
    cuda::BarrierOp::create(b, loc, b.getI64IntegerAttr(kConsumerBarrier), b.getI64IntegerAttr(threads.warps * 32));
    break;
  case ThreadGroup::Warp:
  case ThreadGroup::Fetch:
    cuda::SyncWarpOp::create(b, loc);
    break;
  }
}

//===----------------------------------------------------------------------===//
// Regions
//===----------------------------------------------------------------------===//

LogicalResult GenericLowering::lowerRegion(Region &region, Block *to, ThreadGroup group) {
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(to, to->mightHaveTerminator() ? Block::iterator(to->getTerminator()) : to->end());
  ThreadGroup before = std::exchange(threads, group);
  scopes.emplace_back();
  LogicalResult result = lowerBlock(region.front());
  scopes.pop_back();
  threads = before;
  return result;
}

static void setRegisters(KernelBuilder &k, StringRef way, std::optional<int64_t> registers) {
  if (registers)
    k.call("setmaxnreg_" + way + "<" + llvm::Twine(*registers) + ">", "registers.h", {});
}

LogicalResult GenericLowering::warpRoles(tile::WarpRolesOp op) {
  KernelBuilder k(loc, b);
  int64_t consumers = op.getConsumers(), producers = op.getProducers();
  if (op == pushesBegin)
    pushes = exchangeVariable("pushes", pushesType());
  auto roles = scf::IfOp::create(k, k.less(warp, consumers), /*withElseRegion=*/true);
  scopes.back().inner = roles;

  b.setInsertionPoint(roles.thenYield());
  k.setInsertionPoint(roles.thenYield());
  setRegisters(k, "inc", op.getConsumerRegisters());
  startCursors(/*ofProducers=*/false);
  if (op == pushesBegin) {
    cuda::DependOp::create(b, loc);
    cuda::SetOp::create(b, loc, beginPushes(), pushes, ValueRange{});
  }
  if (failed(lowerRegion(op.getConsume(), roles.thenBlock(), {ThreadGroup::Role, consumers})))
    return failure();

  b.setInsertionPoint(roles.elseYield());
  k.setInsertionPoint(roles.elseYield());
  setRegisters(k, "dec", op.getProducerRegisters());
  // One thread fetches rectangles, one warp rows, all warps rows that they widen.
  bool fetchesRows = false, isWidened = false, copies = false;
  op.getProduce().walk([&](Operation *fetch) {
    auto rows = dyn_cast<tile::FetchRowsOp>(fetch);
    fetchesRows |= static_cast<bool>(rows);
    isWidened |= rows && widens(rows);
    copies |= isa<tile::FetchOp>(fetch) || (rows && !widens(rows));
  });
  if (isWidened && (copies || consumers % producers != 0))
    return op.emitOpError() << "has " << producers << " warps that widen what they fetch beside " << consumers
                            << " others; expected a divisor of these, and no fetches of other kinds";
  Value isFirst = isWidened     ? k.less(warp, consumers + producers)
                  : fetchesRows ? k.equal(warp, consumers)
                                : k.equal(k.special(cuda::Special::ThreadX), consumers * 32);
  auto first = scf::IfOp::create(k, isFirst, /*withElseRegion=*/false);
  k.syncWarp();
  k.setInsertionPoint(first.thenYield());
  b.setInsertionPoint(first.thenYield());
  bool isStreamed = false;
  op.getProduce().walk([&](tile::FetchOp fetch) { isStreamed |= fetch.getEvictFirst(); });
  if (isStreamed)
    evictFirst = k.name("policy", k.call(k.getI64Type(), "evict_first_policy", "bulk_copy.h", {}));
  for (unsigned i = 0; i < maps.maps.size(); ++i)
    k.call("prefetch_tensor_map", "tma.h", tensorMap(i));
  startCursors(/*ofProducers=*/true);
  ThreadGroup group{fetchesRows ? ThreadGroup::Fetch : ThreadGroup::Role, producers};
  if (failed(lowerRegion(op.getProduce(), first.thenBlock(), group)))
    return failure();

  b.setInsertionPointAfter(roles);
  bool isShared = false; // with the block; blocks of a cluster meet when they combine
  auto yield = cast<tile::YieldOp>(op.getConsume().front().getTerminator());
  for (auto [value, result] : llvm::zip_equal(yield.getValues(), op.getResults())) {
    kept[result] = kept.lookup(value);
    isShared |= !llvm::all_of(result.getUsers(), [](Operation *user) { return isa<tile::ClusterReduceOp>(user); });
  }
  if (isShared)
    barrier();
  return success();
}

/// Whether warpgroups multiply codes by codes: the sums of a part of K are added to those before it.
static bool multipliesCodes(tile::ProgramOp program) {
  return program
      .walk([](tile::DotAsyncOp dot) {
        return WalkResult(failure(tileType(dot.getRhs()).getElementTypeBitWidth() == 8));
      })
      .wasInterrupted();
}

LogicalResult GenericLowering::forWarps(tile::ForWarpsOp op) {
  scalars[op.getWarp()] = warp;
  int64_t count = op.getCount();
  if (!op.getDivided().empty() && count != threads.warps)
    return op.emitOpError() << "divides a tile whose rows lie in registers of other warps";
  for (auto [part, whole] : llvm::zip_equal(op.getParts(), op.getDivided()))
    define(part, arrayOf(whole));
  ThreadGroup group{ThreadGroup::Warp, 1};
  // Where all warps of the group run the body, they may meet in it.
  bool isWhole = threads.group == ThreadGroup::Role ? count == threads.warps
                                                    : count * 32 == static_cast<int64_t>(kernel.getThreads());
  if (op.getNumResults() > 0 && !isWhole)
    return op.emitOpError() << "merges what " << count << " warps have computed; expected all warps of a block, "
                            << kernel.getThreads() / 32;
  if (isWhole) {
    // With two sets of sums, coordinates of an epilogue are computed from a lane that is read here, or they would take
    // registers while the warps multiply.
    bool isEpilogue = threads.group == ThreadGroup::Role && multipliesCodes(program);
    ThreadGroup outer = std::exchange(threads, group);
    auto outerCoordinates = coordinates;
    Value outerLane = lane;
    Operation *outerRead = laneRead;
    if (isEpilogue) {
      coordinates.clear();
      lane = call("read_lane", "warp.h", {}, b.getIndexType());
      laneRead = lane.getDefiningOp();
    }
    LogicalResult result = lowerBlock(op.getBody().front());
    if (isEpilogue) {
      laneRead = outerRead;
      lane = outerLane;
      coordinates = outerCoordinates;
    }
    MergeMemory memory;
    if (succeeded(result) && op.getNumResults() > 0)
      result = storeParts(op, memory);
    threads = outer;
    if (succeeded(result) && op.getNumResults() > 0)
      mergeWarps(op, memory);
    return result;
  }
  bool meets = clusterUser && op->isAncestor(clusterUser);
  auto branch = scf::IfOp::create(b, loc, less(warp, index(count)), /*withElseRegion=*/meets);
  scopes.back().inner = branch;
  if (meets) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(branch.elseYield());
    call("cluster_barrier", "warp.h", {});
  }
  return lowerRegion(op.getBody(), branch.thenBlock(), group);
}

//===----------------------------------------------------------------------===//
// Tiles in shared memory
//===----------------------------------------------------------------------===//

/// The memory of an earlier tile of the same warps whose uses lie in another block, so that it is read no more.
Value GenericLowering::stagedBefore(tile::StageOp op) {
  auto isWithin = [](tile::StageOp inner, tile::StageOp outer) {
    return outer->getBlock()->findAncestorOpInBlock(*inner) != nullptr;
  };
  for (auto &[earlier, base] : stagedOfWarps)
    if (earlier.getType() == op.getType() &&
        earlier->getParentOfType<tile::ForWarpsOp>() == op->getParentOfType<tile::ForWarpsOp>() &&
        !isWithin(op, earlier) && !isWithin(earlier, op))
      return base;
  return {};
}

LogicalResult GenericLowering::stage(tile::StageOp op) {
  RankedTensorType type = tileType(op.getResult());
  if (isLeftOfProducts(op))
    return stageLeft(op);
  Layout layout = registerLayout(op.getValue());
  Value array = materialize(op.getValue(), "staged");
  KernelBuilder k(loc, b);
  auto layoutThere = cast<tile::SharedAttr>(type.getEncoding());
  int64_t elementBytes = bytesOf(type.getElementType());
  int64_t pitch = layoutThere.getPitch(), bytes = layoutThere.elements(type.getDimSize(0)) * elementBytes;
  bool isOfRole = threads.group == ThreadGroup::Role && isa<tile::WarpRolesOp>(op->getParentOp());
  auto forWarps = op->getParentOfType<tile::ForWarpsOp>();
  bool isOfWarp = forWarps != nullptr;
  // Declared where every warp can name it.
  k.setInsertionPoint(entryEnd);
  Value base = isOfWarp ? stagedBefore(op) : Value();
  if (!base) {
    base = k.shared(isOfWarp ? "staged" : "sums", type.getElementType(),
                    isOfWarp ? bytes * static_cast<int64_t>(forWarps.getCount()) : bytes, 128,
                    isOfRole ? std::optional<int64_t>(kSumsOverlay) : std::nullopt);
    if (isOfWarp) {
      base = k.name("own", k.offset(base, k.mul(warp, bytes / elementBytes)));
      stagedOfWarps.push_back({op, base});
    }
  }
  barrier(); // what lay there has been read
  bool isMatrix = type.getRank() == 2;
  int64_t live = liveRegisters(layout, type.getShape());
  int64_t neighbours = layout.contiguous(LayoutDim::Register, isMatrix ? LayoutDim::Dim1 : LayoutDim::Dim0);
  int64_t width = elementBytes == 2 ? std::gcd(std::min<int64_t>(neighbours, 8), live) : 1;
  // Past the tile's end lies that of the next warp.
  bool fits = liveRegistersFit(layout, type.getShape());
  unrolled(live / width, [&](Value i) {
    Value reg = mul(i, width);
    Value inside = fits ? Value() : insideTile(layout, type.getShape(), reg);
    Value at = coordinate(layout, 0, reg);
    if (isMatrix)
      at = add(mul(at, pitch), coordinate(layout, 1, reg));
    if (width > 1)
      call("store_vector<" + std::to_string(width) + ">", "tile.h",
           {pointerAt(base, at), address(array, reg), inside ? inside : always()});
    else
      where(inside, [&] { cuda::StoreOp::create(b, loc, get(array, reg), base, at); });
  });
  kept[op.getResult()] = {base, pitch};
  if (!isOfRole)
    barrier();
  return success();
}

LogicalResult GenericLowering::extractSlice(tensor::ExtractSliceOp op) {
  if (isInSlot(op)) {
    auto [buffer, start] = ringTiles[op.getSource()];
    int64_t slab = tile::slabBytes(op.getSourceType()) / bytesOf(op.getType().getElementType());
    ringTiles[op.getResult()] = {buffer, add(start, index(op.getStaticOffset(1) / tile::kAtomColumns * slab))};
    return success();
  }
  if (auto dequantize = op.getSource().getDefiningOp<tile::DequantizeOp>();
      dequantize && isInSlot(dequantize.getBytes())) {
    packedTiles[op.getResult()] =
        unpackPairs(dequantize, registerLayout(op.getResult()), op.getStaticOffset(1), op.getType().getDimSize(1));
    return success();
  }
  int64_t rank = op.getSourceType().getRank();
  bool isRow = rank == 1 && kept.contains(op.getSource()), isColumn = isScalesInSlot(op.getSource());
  if ((rank != 2 && !isRow) || (op.getType().getRank() != rank && !isColumn) || !op.hasUnitStride())
    return op.emitOpError("has no CUDA lowering; expected neighbouring rows and columns of a tile of rank 2");
  if (kept.contains(op.getSource())) {
    scopeOf[op.getResult()] = scopes.size() - 1;
    return success();
  }
  // In registers: a bit of a register's number is one of the slice's coordinates, or one of its offset's.
  Layout from = registerLayout(op.getSource());
  int64_t registers = registerLayout(op.getResult()).size(LayoutDim::Register);
  SmallVector<int64_t> own, ofOffsets[2];
  for (auto [i, basis] : llvm::enumerate(from.bases(LayoutDim::Register))) {
    int64_t bit = int64_t(1) << i;
    bool isOwn = true;
    for (int dim : {0, 1})
      if (int64_t component = basis[tile::dimension(dim)]; component >= op.getType().getDimSize(dim)) {
        ofOffsets[dim].resize(from.outBits(tile::dimension(dim)));
        ofOffsets[dim][llvm::Log2_64(component)] = bit;
        isOwn = false;
      }
    if (isOwn)
      own.push_back(bit);
  }
  Value array = arrayOf(op.getSource()), start;
  for (auto [dim, offset] : llvm::enumerate(op.getMixedOffsets())) {
    auto value = dyn_cast<Value>(offset);
    Value at = value ? scalar(value) : index(*getConstantIntValue(offset));
    start = add(start, image(at, ofOffsets[dim]));
  }
  Value slice = local(registers, op.getType().getElementType(), "slice");
  unrolled(registers, [&](Value reg) {
    Value source = matchPattern(reg, m_Zero()) ? Value() : image(reg, own);
    source = add(source, start);
    set(get(array, source ? source : index(0)), slice, reg);
  });
  define(op.getResult(), slice);
  return success();
}

/// This block's number in its cluster, read once.
Value TileValues::clusterRank() {
  if (!ownRank) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(entryEnd);
    ownRank = special(cuda::Special::ClusterRank);
  }
  return ownRank;
}

/// Reads a slice of a tile that is kept in shared memory, or a column of it as a vector; of one that the blocks of a
/// cluster combine, their sum.
Value TileValues::loadSlice(tensor::ExtractSliceOp op) {
  Layout layout = registerLayout(op.getResult());
  KeptTile tile = kept.lookup(op.getSource());
  RankedTensorType type = op.getType();
  SmallVector<Value> offsets;
  bool isMatrix = type.getRank() == 2;
  int64_t neighbours = layout.contiguous(LayoutDim::Register, isMatrix ? LayoutDim::Dim1 : LayoutDim::Dim0);
  int64_t width = std::min<int64_t>(neighbours, 16 / bytesOf(type.getElementType()));
  bool isColumn = op.getSourceType().getRank() > type.getRank();
  if (isColumn && tile.pitch > 1)
    width = 1;
  for (OpFoldResult offset : op.getMixedOffsets()) {
    auto value = dyn_cast<Value>(offset);
    offsets.push_back(value ? scalar(value) : index(*getConstantIntValue(offset)));
  }
  OpFoldResult column = op.getMixedOffsets().back();
  if (auto value = dyn_cast<Value>(column))
    width = std::gcd(width, divisorOf(value));
  else
    width = std::gcd(width, *getConstantIntValue(column)); // of 0: the width itself
  auto address = [&](Value reg) {
    Value row = add(coordinate(layout, 0, reg), offsets[0]);
    if (!isMatrix)
      return pointerAt(tile.pointer, isColumn ? add(mul(row, tile.pitch), offsets[1]) : row);
    return pointerAt(tile.pointer, add(mul(row, tile.pitch), add(coordinate(layout, 1, reg), offsets[1])));
  };
  int64_t count = layout.size(LayoutDim::Register);
  auto loadOwn = [&](Value array) {
    unrolled(count / width, [&](Value i) {
      Value reg = mul(i, width);
      call("load_vector<" + std::to_string(width) + ">", "tile.h", {this->address(array, reg), address(reg), always()});
    });
  };
  Value array = local(count, type.getElementType(), "loaded");
  if (tile.parts > 1) {
    loadParts(tile, array, width, address);
    return array;
  }
  if (!tile.isOfCluster) {
    loadOwn(array);
    return array;
  }
  // In the order of the ranks. All loads of a block are under way before the first is used.
  for (uint64_t rank = 0; rank < kernel.getCluster(); ++rank) {
    Value part = rank == 0 ? array : local(count, type.getElementType(), "part");
    KernelBuilder k(loc, b);
    auto branch = scf::IfOp::create(k, k.equal(clusterRank(), rank), /*withElseRegion=*/true);
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(branch.thenBlock());
      loadOwn(part);
      b.setInsertionPointToStart(branch.elseBlock());
      Value number = arith::ConstantIntOp::create(b, loc, rank, 32);
      unrolled(count / width, [&](Value i) {
        Value reg = mul(i, width);
        call("load_vector_of_block<" + std::to_string(width) + ">", "warp.h",
             {this->address(part, reg), address(reg), number});
      });
    }
    if (rank > 0)
      unrolled(count, [&](Value reg) { set(combine(tile.combination, get(array, reg), get(part, reg)), array, reg); });
  }
  return array;
}

/// Reads what each warp keeps of a tile, and combines it in the order of the warps.
void TileValues::loadParts(const KeptTile &tile, Value array, int64_t width, llvm::function_ref<Value(Value)> address) {
  auto type = cast<cuda::LocalType>(array.getType());
  int64_t count = type.getShape().front();
  std::string load = "load_vector<" + std::to_string(width) + ">";
  auto loadPart = [&](Value into, Value offset) {
    unrolled(count / width, [&](Value i) {
      Value reg = mul(i, width), at = address(reg);
      call(load, "tile.h", {this->address(into, reg), offset ? pointerAt(at, offset) : at, always()});
    });
  };
  loadPart(array, {});
  unrolled(tile.parts - 1, [&](Value i) {
    Value part = local(count, type.getElementType(), "part");
    loadPart(part, mul(add(i, index(1)), tile.partPitch));
    unrolled(count, [&](Value reg) { set(combine(tile.combination, get(array, reg), get(part, reg)), array, reg); });
  });
}

/// The op in the body of one tile.for_warps of a part of the warps that first uses `tile`, or holds that use; null
/// where others use it as well.
static Operation *firstUseInWarps(Value tile, uint64_t warpsOfBlock) {
  Operation *first = nullptr;
  for (Operation *user : tile.getUsers()) {
    auto warps = dyn_cast_or_null<tile::ForWarpsOp>(tile.getParentBlock()->findAncestorOpInBlock(*user));
    if (!warps || warps.getCount() == warpsOfBlock)
      return nullptr;
    Operation *use = warps.getBody().front().findAncestorOpInBlock(*user);
    if (first && first->getBlock() != use->getBlock())
      return nullptr;
    if (!first || use->isBeforeInBlock(first))
      first = use;
  }
  return first;
}

/// The blocks of the cluster meet. Warps that have parts of the tile meet the others just before they use it, so that
/// what else they need is on its way.
LogicalResult GenericLowering::combineKept(tile::ClusterReduceOp op) {
  Operation *user = clusterUser ? nullptr : firstUseInWarps(op.getResult(), kernel.getThreads() / 32);
  if (user)
    clusterUser = user;
  else
    call("cluster_barrier", "warp.h", {});
  KeptTile tile = kept.lookup(op.getValue());
  tile.isOfCluster = true;
  tile.combination = op.getKind();
  kept[op.getResult()] = tile;
  leavesCluster = true;
  return success();
}
