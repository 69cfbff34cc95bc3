//===- GenericWarps.cpp - work of warps, and tiles in shared memory --------===//
//
// Roles are branches over the warps of a block. While one is built, tiles are divided
// over its warps and barriers are those of its threads; in tile.for_warps a warp has
// its tiles alone. Staged tiles stay in shared memory until a slice is used.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "passes/tile_to_cuda/GenericLowering.h"

#include <numeric>

using namespace mlir;
using namespace inlay;

/// The barrier of the warps that multiply.
static constexpr int64_t kConsumerBarrier = 1;

void GenericLowering::barrier() {
  switch (threads.group) {
  case ThreadGroup::Block:
    cuda::BarrierOp::create(b, loc, IntegerAttr(), IntegerAttr());
    break;
  case ThreadGroup::Role:
    cuda::BarrierOp::create(b, loc, b.getI64IntegerAttr(kConsumerBarrier), b.getI64IntegerAttr(threads.warps * 32));
    break;
  case ThreadGroup::Warp:
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
  int beforeBits = layouts.enter(log2Ceil(group.group == ThreadGroup::Warp ? 1 : group.warps));
  scopes.emplace_back();
  LogicalResult result = lowerBlock(region.front());
  scopes.pop_back();
  layouts.enter(beforeBits);
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
  auto roles = scf::IfOp::create(k, k.less(warp, consumers), /*withElseRegion=*/true);
  scopes.back().inner = roles;

  b.setInsertionPoint(roles.thenYield());
  k.setInsertionPoint(roles.thenYield());
  setRegisters(k, "inc", op.getConsumerRegisters());
  startCursors(/*ofProducers=*/false);
  if (failed(lowerRegion(op.getConsume(), roles.thenBlock(), {ThreadGroup::Role, consumers})))
    return failure();

  b.setInsertionPoint(roles.elseYield());
  k.setInsertionPoint(roles.elseYield());
  setRegisters(k, "dec", op.getProducerRegisters());
  auto first = scf::IfOp::create(k, k.equal(k.special(cuda::Special::ThreadX), consumers * 32),
                                 /*withElseRegion=*/false);
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
  if (failed(lowerRegion(op.getProduce(), first.thenBlock(), {ThreadGroup::Role, producers})))
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

/// What one warp has of a tile whose rows are divided: the rows that the bits of the warp choose.
static FailureOr<Layout> partOf(const Layout &layout, int64_t rows) {
  Layout part = layout;
  part.warps.clear();
  int position = log2Ceil(rows);
  for (LayoutBit bit : layout.warps)
    if (bit != LayoutBit{0, position++})
      return failure();
  if (part.extent(0) != rows)
    return failure();
  return part;
}

LogicalResult GenericLowering::forWarps(tile::ForWarpsOp op) {
  scalars[op.getWarp()] = warp;
  int64_t count = op.getCount();
  for (auto [part, whole] : llvm::zip_equal(op.getParts(), op.getDivided())) {
    Layout layout = layouts.of(whole);
    FailureOr<Layout> own = partOf(layout, tileType(part).getDimSize(0));
    if (failed(own) || count != threads.warps)
      return op.emitOpError() << "divides a tile whose rows lie in registers of other warps";
    layouts.set(part, *own);
    define(part, *own, arrayOf(whole, layout));
  }
  ThreadGroup group{ThreadGroup::Warp, 1};
  // Where all warps of the group run the body, they may meet in it.
  bool isWhole = threads.group == ThreadGroup::Role ? count == threads.warps
                                                    : count * 32 == static_cast<int64_t>(kernel.getThreads());
  if (isWhole) {
    int before = layouts.enter(0);
    ThreadGroup outer = std::exchange(threads, group);
    LogicalResult result = lowerBlock(op.getBody().front());
    threads = outer;
    layouts.enter(before);
    return result;
  }
  auto branch = scf::IfOp::create(b, loc, less(warp, index(count)), /*withElseRegion=*/false);
  scopes.back().inner = branch;
  return lowerRegion(op.getBody(), branch.thenBlock(), group);
}

//===----------------------------------------------------------------------===//
// Tiles in shared memory
//===----------------------------------------------------------------------===//

LogicalResult GenericLowering::stage(tile::StageOp op) {
  RankedTensorType type = tileType(op.getResult());
  int64_t elementBytes = bytesOf(type.getElementType());
  if (type.getRank() != 2 || (elementBytes != 4 && elementBytes != 2))
    return op.emitOpError() << "of " << type << " has no CUDA lowering; expected rank 2, and 16 or 32 bits";
  Layout layout = layouts.of(op.getValue());
  Value array = materialize(op.getValue(), layout, "staged");
  KernelBuilder k(loc, b);
  // 16 bytes more a row, so that rows lie in different banks.
  int64_t pitch = type.getDimSize(1) + 16 / elementBytes, bytes = type.getDimSize(0) * pitch * elementBytes;
  bool isOfRole = threads.group == ThreadGroup::Role && isa<tile::WarpRolesOp>(op->getParentOp());
  auto forWarps = op->getParentOfType<tile::ForWarpsOp>();
  bool isOfWarp = forWarps != nullptr;
  // Declared where every warp can name it.
  k.setInsertionPoint(entryEnd);
  Value base = k.shared(isOfWarp ? "staged" : "sums", type.getElementType(),
                        isOfWarp ? bytes * static_cast<int64_t>(forWarps.getCount()) : bytes, 128,
                        isOfRole ? std::optional<int64_t>(kSumsOverlay) : std::nullopt);
  if (isOfWarp)
    base = k.name("own", k.offset(base, k.mul(warp, bytes / elementBytes)));
  barrier(); // what lay there has been read
  int64_t live = liveRegisters(layout, type.getShape());
  int64_t width = elementBytes == 2 ? std::gcd(std::min<int64_t>(layout.contiguous(1), 8), live) : 1;
  unrolled(live / width, [&](Value i) {
    Value reg = mul(i, width);
    Value at = add(mul(coordinate(layout, 0, reg), pitch), coordinate(layout, 1, reg));
    if (width > 1)
      call("store_vector<" + std::to_string(width) + ">", "tile.h",
           {pointerAt(base, at), address(array, reg), always()});
    else
      cuda::StoreOp::create(b, loc, get(array, reg), base, at);
  });
  kept[op.getResult()] = {base, pitch};
  if (!isOfRole)
    barrier();
  return success();
}

LogicalResult GenericLowering::extractSlice(tensor::ExtractSliceOp op) {
  if (op.getSourceType().getRank() != 2 || op.getType().getRank() != 2 || !op.hasUnitStride())
    return op.emitOpError("has no CUDA lowering; expected neighbouring rows and columns of a tile of rank 2");
  if (kept.contains(op.getSource())) {
    scopeOf[op.getResult()] = scopes.size() - 1;
    return success();
  }
  // In registers: a bit of a register's number is one of the slice's coordinates, or one of its offset's.
  Layout from = layouts.of(op.getSource()), to = from;
  to.registers.clear();
  SmallVector<std::pair<int, int>> own, offsetBits[2];
  for (auto [i, bit] : llvm::enumerate(from.registers)) {
    if (bit.dim >= 0 && (int64_t(1) << bit.position) >= op.getType().getDimSize(bit.dim)) {
      offsetBits[bit.dim].push_back({bit.position, static_cast<int>(i)});
      continue;
    }
    own.push_back({static_cast<int>(to.registers.size()), static_cast<int>(i)});
    to.registers.push_back(bit);
  }
  for (int dim : {0, 1})
    if (to.extent(dim) != op.getType().getDimSize(dim))
      return op.emitOpError("takes elements of other threads' registers; stage the tile first");
  Value array = arrayOf(op.getSource(), from), start;
  for (auto [dim, offset] : llvm::enumerate(op.getMixedOffsets())) {
    auto value = dyn_cast<Value>(offset);
    Value at = value ? scalar(value) : index(*getConstantIntValue(offset));
    llvm::sort(offsetBits[dim]);
    start = add(start, pickBits(at, offsetBits[dim]));
  }
  Value slice = local(to.registerCount(), op.getType().getElementType(), "slice");
  unrolled(to.registerCount(), [&](Value reg) {
    Value source = matchPattern(reg, m_Zero()) ? Value() : pickBits(reg, own);
    source = add(source, start);
    set(get(array, source ? source : index(0)), slice, reg);
  });
  layouts.set(op.getResult(), to);
  define(op.getResult(), to, slice);
  return success();
}

/// This block's number in its cluster, read once.
Value GenericLowering::clusterRank() {
  if (!ownRank) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(entryEnd);
    ownRank = special(cuda::Special::ClusterRank);
  }
  return ownRank;
}

/// Reads a slice of a tile that is kept in shared memory; of one that the blocks of a cluster combine, their sum.
Value GenericLowering::loadSlice(tensor::ExtractSliceOp op, const Layout &layout) {
  KeptTile tile = kept.lookup(op.getSource());
  RankedTensorType type = op.getType();
  SmallVector<Value> offsets;
  int64_t width = std::min<int64_t>(layout.contiguous(1), 16 / bytesOf(type.getElementType()));
  for (OpFoldResult offset : op.getMixedOffsets()) {
    auto value = dyn_cast<Value>(offset);
    offsets.push_back(value ? scalar(value) : index(*getConstantIntValue(offset)));
  }
  OpFoldResult column = op.getMixedOffsets()[1];
  if (auto value = dyn_cast<Value>(column))
    width = std::gcd(width, divisor(value));
  else
    width = std::gcd(width, *getConstantIntValue(column)); // of 0: the width itself
  auto address = [&](Value reg) {
    Value row = add(coordinate(layout, 0, reg), offsets[0]);
    return pointerAt(tile.pointer, add(mul(row, tile.pitch), add(coordinate(layout, 1, reg), offsets[1])));
  };
  int64_t count = layout.registerCount();
  auto loadOwn = [&](Value array) {
    unrolled(count / width, [&](Value i) {
      Value reg = mul(i, width);
      call("load_vector<" + std::to_string(width) + ">", "tile.h", {this->address(array, reg), address(reg), always()});
    });
  };
  Value array = local(count, type.getElementType(), "loaded");
  if (tile.parts > 1) {
    // In the order of the warps.
    Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(type.getElementType()));
    unrolled(count, [&](Value reg) { set(zero, array, reg); });
    unrolled(tile.parts, [&](Value part) {
      Value own = local(count, type.getElementType(), "part");
      unrolled(count / width, [&](Value i) {
        Value reg = mul(i, width);
        call("load_vector<" + std::to_string(width) + ">", "tile.h",
             {this->address(own, reg), pointerAt(address(reg), mul(part, tile.partPitch)), always()});
      });
      unrolled(count, [&](Value reg) { set(combine(tile.combination, get(array, reg), get(own, reg)), array, reg); });
    });
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

/// The blocks of a cluster meet, so that each may read what the others keep.
LogicalResult GenericLowering::combineKept(tile::ClusterReduceOp op) {
  call("cluster_barrier", "warp.h", {});
  KeptTile tile = kept.lookup(op.getValue());
  tile.isOfCluster = true;
  tile.combination = op.getKind();
  kept[op.getResult()] = tile;
  leavesCluster = true;
  return success();
}
