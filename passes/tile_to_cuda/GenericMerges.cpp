//===- GenericMerges.cpp - parts of an online softmax ------------------------===//
//
// Warps leave their parts in the memory of their rings, and each thread merges the
// elements that it has. Blocks of a cluster send each other what the other one has of the
// result, announced at a barrier there: nobody waits for memory of another block, and none
// has to stay. Maxima and sums go to all of them.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/GenericLowering.h"
#include "passes/tile_to_cuda/KernelBuilder.h"

using namespace mlir;
using namespace inlay;
using enum inlay::tile::LayoutDim;

/// Rows of partial outputs: 16 bytes more put the rows that a store touches into different banks.
static int64_t pitchOf(RankedTensorType out) { return (int64_t(1) << log2Ceil(out.getDimSize(1))) + 4; }

int64_t RingLowering::partBytes(tile::ForWarpsOp op) {
  if (op.getNumResults() == 0)
    return 0;
  auto out = cast<RankedTensorType>(op.getResultTypes()[2]);
  return (int64_t(1) << log2Ceil(out.getDimSize(0))) * pitchOf(out) * 4;
}

/// Builds `body` in a branch, if there is a condition.
void TileValues::where(Value condition, function_ref<void()> body) {
  if (!condition)
    return body();
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(scf::IfOp::create(b, loc, condition, /*withElseRegion=*/false).thenYield());
  body();
}

/// Stores what this warp yields: outputs in the memory of its own ring, and a maximum and a sum for each row.
LogicalResult GenericLowering::storeParts(tile::ForWarpsOp op, MergeMemory &memory) {
  auto yield = cast<tile::YieldOp>(op.getBody().front().getTerminator());
  Value top = yield.getValues()[0], sum = yield.getValues()[1], out = yield.getValues()[2];
  RankedTensorType type = tileType(out);
  auto [rings, bytes] = ringsOfWarps.lookup(op);
  if (!rings)
    return op.emitOpError(
        "merges what warps without a ring have computed; expected one, whose memory their parts take");
  for (Value part : yield.getValues())
    prepare(part);
  KernelBuilder k(loc, b);
  k.setInsertionPoint(entryEnd);
  memory.parts = k.as(rings, k.getF32Type());
  memory.partPitch = bytes / 4;
  memory.rowStats = k.shared("row_stats", k.getF32Type(), op.getCount() * type.getDimSize(0) * 2 * 4);
  Layout ofRows = registerLayout(top), layout = registerLayout(out);
  unrolled(liveRegisters(ofRows, type.getShape().take_front()), [&](Value reg) {
    Value row = coordinate(ofRows, 0, reg);
    where(both(onlyOneHolder(ofRows), insideTile(ofRows, type.getShape().take_front(), reg)), [&] {
      Value at = mul(add(mul(warp, type.getDimSize(0)), row), 2);
      cuda::StoreOp::create(b, loc, element(top, reg), memory.rowStats, at);
      cuda::StoreOp::create(b, loc, element(sum, reg), memory.rowStats, add(at, index(1)));
    });
  });
  Value own = pointerAt(memory.parts, mul(warp, memory.partPitch));
  unrolled(liveRegisters(layout, type.getShape()), [&](Value reg) {
    where(insideTile(layout, type.getShape(), reg), [&] {
      Value at = add(mul(coordinate(layout, 0, reg), pitchOf(type)), coordinate(layout, 1, reg));
      cuda::StoreOp::create(b, loc, element(out, reg), own, at);
    });
  });
  return success();
}

/// Merges `count` parts of a thread's rows and outputs, and then those of lanes that differ in bits of `lanes`.
void GenericLowering::mergeParts(ValueRange results, int64_t count, int64_t lanes,
                                 function_ref<Value(Value, Value)> statsOf, function_ref<Value(Value, Value)> outsOf,
                                 int64_t width) {
  Layout layout = registerLayout(results[2]), ofRows = registerLayout(results[0]);
  int64_t rows = ofRows.size(Register), registers = layout.size(Register);
  Type f32 = b.getF32Type();
  Value tops = local(rows, f32, "top"), sums = local(rows, f32, "sum"), outs = local(registers, f32, "out");
  Value scales = local(rows * count, f32, "scales");
  auto overLanes = [&](Value array, Value reg, tile::Reduction kind) {
    for (int64_t rest = lanes; rest != 0; rest &= rest - 1) {
      Value distance = arith::ConstantIntOp::create(b, loc, rest & -rest, 32);
      Value other = call("shuffle_xor", "warp.h", {get(array, reg), distance}, f32);
      set(combine(kind, get(array, reg), other), array, reg);
    }
  };
  unrolled(rows, [&](Value reg) {
    Value stats = local(2 * count, f32, "stats");
    unrolled(count, [&](Value part) {
      call("load_vector<2>", "tile.h", {address(stats, mul(part, 2)), statsOf(part, reg), always()});
    });
    set(get(stats, index(0)), tops, reg);
    if (count > 1)
      unrolled(count - 1, [&](Value part) {
        Value top = get(stats, mul(add(part, index(1)), 2));
        set(combine(tile::Reduction::Max, get(tops, reg), top), tops, reg);
      });
    overLanes(tops, reg, tile::Reduction::Max);
    set(arith::ConstantOp::create(b, loc, b.getF32FloatAttr(0)), sums, reg);
    unrolled(count, [&](Value part) {
      Value below = arith::SubFOp::create(b, loc, get(stats, mul(part, 2)), get(tops, reg));
      Value scale = call("exp2_approximate", "base.h", {below}, f32);
      set(scale, scales, add(mul(reg, count), part));
      Value sum = arith::MulFOp::create(b, loc, get(stats, add(mul(part, 2), index(1))), scale);
      set(arith::AddFOp::create(b, loc, get(sums, reg), sum), sums, reg);
    });
    overLanes(sums, reg, tile::Reduction::Add);
  });
  unrolled(registers, [&](Value reg) { set(arith::ConstantOp::create(b, loc, b.getF32FloatAttr(0)), outs, reg); });
  unrolled(registers / width, [&](Value i) {
    Value first = mul(i, width), row = keptRegister(layout, 1, first);
    unrolled(count, [&](Value part) {
      Value loaded = local(width, f32, "part"), scale = get(scales, add(mul(row, count), part));
      call("load_vector<" + std::to_string(width) + ">", "tile.h",
           {address(loaded, index(0)), outsOf(part, first), always()});
      unrolled(width, [&](Value at) {
        Value reg = add(first, at), scaled = arith::MulFOp::create(b, loc, get(loaded, at), scale);
        set(arith::AddFOp::create(b, loc, get(outs, reg), scaled), outs, reg);
      });
    });
  });
  unrolled(registers, [&](Value reg) { overLanes(outs, reg, tile::Reduction::Add); });
  define(results[0], tops);
  define(results[1], sums);
  define(results[2], outs);
}

/// The block's part, from those of its warps.
void GenericLowering::mergeWarps(tile::ForWarpsOp op, const MergeMemory &memory) {
  barrier();
  RankedTensorType type = tileType(op.getResult(2));
  Layout layout = registerLayout(op.getResult(2)), ofRows = registerLayout(op.getResult(0));
  mergeParts(
      op.getResults(), op.getCount(), /*lanes=*/0,
      [&](Value part, Value reg) {
        Value row = add(mul(part, type.getDimSize(0)), coordinate(ofRows, 0, reg));
        return pointerAt(memory.rowStats, mul(row, 2));
      },
      [&](Value part, Value reg) {
        Value at = add(mul(coordinate(layout, 0, reg), pitchOf(type)), coordinate(layout, 1, reg));
        return pointerAt(memory.parts, add(mul(part, memory.partPitch), at));
      },
      std::min<int64_t>(4, layout.contiguous(Register, Dim1)));
}

//===----------------------------------------------------------------------===//
// Clusters
//===----------------------------------------------------------------------===//

namespace {
/// Numbers the elements that a block has of a tile which is divided among blocks.
class Places {
public:
  explicit Places(const Layout &layout) : inverse(layout.inverse()) {
    for (LayoutDim in : {Lane, Warp, Register}) {
      SmallVector<int64_t> &numbers = ofPlace.emplace_back();
      for (int i = 0; i < layout.bits(in); ++i) {
        bool isFree = layout.freeBits(in) >> i & 1;
        numbers.push_back(isFree ? 0 : count);
        count *= isFree ? 1 : 2;
      }
    }
  }
  /// The number's bits that each bit of a lane, warp or register gives.
  ArrayRef<int64_t> ofInput(LayoutDim in) const { return ofPlace[in == Lane ? 0 : in == Warp ? 1 : 2]; }
  /// Those that each bit of a coordinate gives.
  SmallVector<int64_t> ofCoordinate(LayoutDim dim) const {
    SmallVector<int64_t> result(inverse.bits(dim));
    for (LayoutDim in : {Lane, Warp, Register})
      for (auto [i, mask] : llvm::enumerate(inverse.components(dim, in)))
        for (auto [bit, number] : llvm::enumerate(ofInput(in)))
          result[i] |= mask >> bit & 1 ? number : 0;
    return result;
  }
  /// The block that has an element, by each bit of a coordinate.
  SmallVector<int64_t> blockOf(LayoutDim dim) const { return inverse.components(dim, LayoutDim::Block); }

  int64_t count = 1; // elements of a block

private:
  Layout inverse;
  SmallVector<SmallVector<int64_t>, 3> ofPlace;
};
} // namespace

/// The bits of `mask` of a number, side by side.
static SmallVector<int64_t> gathered(int64_t mask, int bits, int64_t &count) {
  SmallVector<int64_t> components;
  for (int i = 0; i < bits; ++i) {
    bool isTaken = mask >> i & 1;
    components.push_back(isTaken ? count : 0);
    count *= isTaken ? 2 : 1;
  }
  return components;
}

/// Memory that other blocks write, and the news that this block has begun: as early as all of them get here.
void GenericLowering::announceMerge(tile::ClusterMergeOp op) {
  Places places(registerLayout(op.getResult(2)));
  int64_t blocks = kernel.getCluster(), rows = tileType(op.getResult(2)).getDimSize(0);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(entryEnd);
    KernelBuilder k(loc, b);
    inbox.stats = k.shared("inbox_stats", k.getF32Type(), blocks * rows * 2 * 4);
    inbox.outs = k.shared("inbox", k.getF32Type(), blocks * places.count * 4);
    inbox.received = k.shared("received", k.getI64Type(), 8);
    k.ifThen(k.equal(k.special(cuda::Special::ThreadX), 0), [&] {
      k.call("mbarrier_init", "mbarrier.h", {inbox.received, k.i32(1)});
      k.call("fence_mbarrier_init", "mbarrier.h", {});
      k.call("mbarrier_arrive_expect", "mbarrier.h", {inbox.received, k.i32((places.count + 2 * rows) * 4 * blocks)});
    });
  }
  call("cluster_arrive", "warp.h", {});
}

LogicalResult GenericLowering::clusterMerge(tile::ClusterMergeOp op) {
  Value top = op.getParts()[0], sum = op.getParts()[1], out = op.getParts()[2];
  Layout from = registerLayout(out), ofRows = registerLayout(top), to = registerLayout(op.getResult(2));
  RankedTensorType type = tileType(out);
  Places places(to);
  int64_t blocks = kernel.getCluster(), rows = type.getDimSize(0);
  for (Value part : op.getParts())
    prepare(part);
  // All blocks of the cluster have begun, so that their memory can be written.
  call("cluster_wait", "warp.h", {});
  auto send = [&](Value value, Value pointer, Value at, Value block) {
    call("send_to_block", "warp.h", {pointerAt(pointer, at), block, value, inbox.received});
  };
  auto imageOf = [&](Value reg, ArrayRef<int64_t> ofRow, ArrayRef<int64_t> ofColumn) {
    Value x = image(coordinate(from, 0, reg), ofRow), y = image(coordinate(from, 1, reg), ofColumn);
    Value both = joined(x, bitsOf(ofRow), y, bitsOf(ofColumn));
    return both ? both : index(0);
  };
  SmallVector<int64_t> numbers[] = {places.ofCoordinate(Dim0), places.ofCoordinate(Dim1)};
  SmallVector<int64_t> owners[] = {places.blockOf(Dim0), places.blockOf(Dim1)};
  where(onlyOneHolder(from), [&] {
    unrolled(from.size(Register), [&](Value reg) {
      Value at = add(mul(clusterRank(), places.count), imageOf(reg, numbers[0], numbers[1]));
      send(element(out, reg), inbox.outs, at, imageOf(reg, owners[0], owners[1]));
    });
  });
  // Of the threads that hold a row's maximum and sum, each sends them to other blocks.
  int64_t holders = 1;
  SmallVector<int64_t> lanes = gathered(ofRows.freeBits(Lane), ofRows.bits(Lane), holders);
  SmallVector<int64_t> warps = gathered(ofRows.freeBits(Warp), ofRows.bits(Warp), holders);
  Value holder = add(image(lane, lanes), image(warp, warps));
  unrolled(liveRegisters(ofRows, {rows}), [&](Value reg) {
    Value isWanted = insideTile(ofRows, {rows}, reg);
    if (holders > blocks)
      isWanted = both(isWanted, less(holder, index(blocks)));
    where(isWanted, [&] {
      Value at = mul(add(mul(clusterRank(), rows), coordinate(ofRows, 0, reg)), 2);
      for (int64_t block = 0; block < blocks; block += holders) {
        Value target = add(holder, index(block));
        target = target ? target : index(0);
        send(element(top, reg), inbox.stats, at, target);
        send(element(sum, reg), inbox.stats, add(at, index(1)), target);
      }
    });
  });
  call("mbarrier_wait", "mbarrier.h", {inbox.received, arith::ConstantIntOp::create(b, loc, 0, 32)});

  // Lanes that have the same elements share the parts.
  int64_t shared = to.freeBits(Lane), sharing = 1;
  while (llvm::popcount(static_cast<uint64_t>(shared)) > log2Ceil(blocks))
    shared &= shared - 1;
  SmallVector<int64_t> ofLane = gathered(shared, to.bits(Lane), sharing);
  Value firstPart = image(lane, ofLane);
  auto rankOf = [&](Value part) { return add(firstPart, mul(part, sharing)); };
  Layout ofResults = registerLayout(op.getResult(0));
  Value ofThread = joined(image(lane, places.ofInput(Lane)), bitsOf(places.ofInput(Lane)),
                          image(warp, places.ofInput(Warp)), bitsOf(places.ofInput(Warp)));
  mergeParts(
      op.getResults(), blocks / sharing, shared,
      [&](Value part, Value reg) {
        return pointerAt(inbox.stats, mul(add(mul(rankOf(part), rows), coordinate(ofResults, 0, reg)), 2));
      },
      [&](Value part, Value reg) {
        Value at = add(ofThread, matchPattern(reg, m_Zero()) ? Value() : image(reg, places.ofInput(Register)));
        return pointerAt(inbox.outs, add(mul(rankOf(part), places.count), at));
      },
      /*width=*/1);
  return success();
}
