//===- GenericRings.cpp - rings in shared memory --------------------------===//
//
// A ring is a buffer for each tile of a slot and two mbarriers for each slot: `full`
// ends a phase when the bytes of all fetches have arrived, `empty` when every
// warpgroup that multiplies has released the slot, or every warp, where warps read
// scales from it. Both ends count the slots that they have passed (stage) and the parity
// of the barriers there.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/CreateKernel.h"
#include "passes/tile_to_cuda/GenericLowering.h"
#include "passes/tile_to_cuda/KernelBuilder.h"
#include "passes/tile_to_cuda/MmaInstructions.h"

using namespace mlir;
using namespace inlay;
using tile::kAtomBytes, tile::kAtomColumns, tile::kSlabBytes;

Value RingLowering::tensorMap(unsigned i) { return kernel.getArgument(program.getBody().getNumArguments() + i); }

//===----------------------------------------------------------------------===//
// Rings
//===----------------------------------------------------------------------===//

static int64_t elementsOfSlab(RankedTensorType tile) { return tile::slabBytes(tile) / bytesOf(tile.getElementType()); }

Type inlay::bufferElement(RankedTensorType tile) {
  return tile.getElementType().isInteger() ? BFloat16Type::get(tile.getContext()) : tile.getElementType();
}

int64_t inlay::elementsInSlot(Type type) {
  auto tile = cast<RankedTensorType>(type);
  if (tile.getElementTypeBitWidth() == 16 || isa<Float8E4M3FNType>(tile.getElementType()))
    return tile::slabsOf(tile) * elementsOfSlab(tile);
  return tile.getNumElements() * tile.getElementTypeBitWidth() / 8 / bytesOf(bufferElement(tile));
}

/// Whether the warps that fetch write the slots of `ring` themselves.
static bool isWidened(Value ring) {
  return llvm::any_of(ring.getUsers(), [](Operation *user) {
    auto rows = dyn_cast<tile::FetchRowsOp>(user);
    return rows && widens(rows);
  });
}

/// Whether threads read the slots of `ring` after the products of their warpgroup, each warp at its own time.
static bool isReadByWarps(Value ring) {
  return llvm::any_of(ring.getUsers(), [](Operation *user) {
    auto wait = dyn_cast<tile::WaitOp>(user);
    return wait && llvm::any_of(wait.getTiles(), isScalesInSlot);
  });
}

/// All rings of the program, and what the consumers' warpgroups meet at, so that the block waits once.
LogicalResult RingLowering::ring(tile::RingOp op) {
  if (op.isOfWarp())
    return warpRing(op);
  if (rings.contains(op))
    return success();
  KernelBuilder k(loc, b);
  tile::WarpRolesOp roles;
  program.walk([&](tile::WarpRolesOp found) { roles = found; });
  if (!roles)
    return op.emitOpError("is used by no tile.warp_roles; run tile-specialize-warps first");
  // What the consumers leave in shared memory goes where the rings were.
  std::optional<int64_t> overlay;
  if (roles->getNumResults() > 0)
    overlay = kRingOverlay;
  int64_t buffers = 0, groups = roles.getConsumers() * 32 / kWarpgroup;
  program.walk([&](tile::RingOp any) {
    if (any.isOfWarp())
      return;
    tile::RingType type = any.getResult().getType();
    RingState &state = rings[any];
    for (auto [i, tile] : llvm::enumerate(type.getTiles()))
      state.buffers.push_back(k.shared("ring" + std::to_string(buffers++), bufferElement(cast<RankedTensorType>(tile)),
                                       type.getStages() * type.tileBytes(i), kAtomBytes, overlay));
    state.full = k.shared("full", k.getI64Type(), type.getStages() * 8);
    state.empty = k.shared("empty", k.getI64Type(), type.getStages() * 8);
  });
  auto uses = [&](auto *type) {
    using Op = std::remove_pointer_t<decltype(type)>;
    return program.walk([](Op) { return WalkResult::interrupt(); }).wasInterrupted();
  };
  if (uses(static_cast<tile::InTurnOp *>(nullptr)))
    turns.barriers = k.shared("turns", k.getI64Type(), groups * 8);
  bool stagesLeft = program
                        .walk([](tile::StageOp stage) {
                          return isLeftOfProducts(stage) ? WalkResult::interrupt() : WalkResult::advance();
                        })
                        .wasInterrupted();
  if (stagesLeft || uses(static_cast<tile::ClearRowsOp *>(nullptr)))
    meetings.barriers = k.shared("meetings", k.getI64Type(), groups * 8);
  k.ifThen(k.equal(k.special(cuda::Special::ThreadX), 0), [&] {
    auto initialise = [&](Value barriers, int64_t arrivals) {
      return [&k, barriers, arrivals](Value i) {
        k.call("mbarrier_init", "mbarrier.h", {k.offset(barriers, i), k.i32(arrivals)});
      };
    };
    for (auto &[value, state] : rings)
      k.loop("i", cast<tile::RingType>(value.getType()).getStages(), KernelBuilder::Unrolled, [&](Value i) {
        initialise(state.full, isWidened(value) ? roles.getProducers() : 1)(i);
        initialise(state.empty, isReadByWarps(value) ? roles.getConsumers() : groups)(i);
      });
    if (turns.barriers)
      k.loop("i", groups, KernelBuilder::Unrolled, initialise(turns.barriers, kWarpgroup / 32));
    if (meetings.barriers)
      k.loop("i", groups, KernelBuilder::Unrolled, initialise(meetings.barriers, kWarpgroup));
    k.call("fence_mbarrier_init", "mbarrier.h", {});
  });
  k.barrier();
  return success();
}

Value inlay::advance(KernelBuilder &k, RingCursor cursor, int64_t stages) {
  Value at = k.name("slot", k.get(cursor.stage));
  Value next = k.name("next_slot", k.add(at, 1));
  Value wraps = k.name("wraps", k.equal(next, stages));
  k.set(k.select(wraps, k.index(0), next), cursor.stage);
  if (cursor.parity)
    k.set(k.select(wraps, k.sub(k.index(1), k.get(cursor.parity)), k.get(cursor.parity)), cursor.parity);
  return at;
}

void RingLowering::startCursors(bool ofProducers) {
  KernelBuilder k(loc, b);
  for (auto &[value, state] : rings) {
    Type type = k.getIndexType();
    bool isFilled = llvm::any_of(value.getUsers(), [](Operation *user) {
      auto acquire = dyn_cast<tile::AcquireOp>(user);
      return acquire && acquire.getFirst();
    });
    // The producers' first pass has no waits, or comes before what is counted here.
    Value start = k.index(ofProducers && isFilled ? 1 : 0);
    RingCursor &cursor = ofProducers ? state.producer : state.consumer;
    cursor.stage = k.local("stage", {}, type, k.index(0));
    // A warp that fetches rows has few registers: it counts slots, so that rings which are filled together share that.
    bool isCounted = ofProducers && llvm::isPowerOf2_64(cast<tile::RingType>(value.getType()).getStages()) &&
                     llvm::any_of(value.getUsers(), [](Operation *user) { return isa<tile::FetchRowsOp>(user); });
    cursor.parity = isCounted ? Value() : k.local("parity", {}, type, start);
    if (!ofProducers)
      state.released.stage = k.local("released", {}, type, k.index(0));
  }
  if (ofProducers)
    return;
  // The first warpgroup begins without being let.
  if (turns.barriers) {
    Value isFirst = k.less(warp, kWarpgroup / 32);
    turns.parity = k.local("turn", {}, k.getIndexType(), k.select(isFirst, k.index(1), k.index(0)));
  }
  if (meetings.barriers)
    meetings.parity = k.local("met", {}, k.getIndexType(), k.index(0));
}

LogicalResult RingLowering::acquire(tile::AcquireOp op) {
  KernelBuilder k(loc, b);
  RingState &state = rings[op.getRing()];
  int64_t stages = op.getRing().getType().getStages();
  Value slot;
  if (op.getFirst()) {
    slot = scalar(op.getFirst());
  } else if (state.isOfWarp) {
    slot = advance(k, state.producer, stages);
  } else if (!state.producer.parity) {
    Value count = k.name("count", k.get(state.producer.stage));
    auto bits = [&](Value x, int64_t mask) { return Value(arith::AndIOp::create(k, x, k.index(mask))); };
    slot = k.name("slot", bits(count, stages - 1));
    Value pass = arith::ShRSIOp::create(k, count, k.index(log2Ceil(stages)));
    Value parity = k.name("emptied", k.sub(k.index(1), bits(pass, 1)));
    k.set(k.add(count, 1), state.producer.stage);
    k.call("mbarrier_wait", "mbarrier.h", {k.offset(state.empty, slot), parity});
  } else {
    Value parity = k.sub(k.index(1), k.get(state.producer.parity));
    parity = k.name("emptied", parity);
    slot = advance(k, state.producer, stages);
    k.call("mbarrier_wait", "mbarrier.h", {k.offset(state.empty, slot), parity});
  }
  scalars[op.getSlot()] = slot;
  // The one fetch of a warp's slot announces its own bytes; what warps widen, they write themselves.
  if (state.isOfWarp || isWidened(op.getRing()))
    return success();
  auto announce = [&] {
    k.call("mbarrier_arrive_expect", "mbarrier.h",
           {k.offset(state.full, slot), k.i32(op.getRing().getType().slotBytes())});
  };
  if (threads.group == ThreadGroup::Fetch) {
    k.ifThen(k.equal(lane, 0), announce);
    k.syncWarp();
  } else {
    announce();
  }
  return success();
}

LogicalResult RingLowering::fetch(tile::FetchOp op) {
  if (rings[op.getRing()].isOfWarp)
    return holdsWeights(op.getRing().getDefiningOp<tile::RingOp>()) ? fetchWeightsOfWarp(op) : fetchRowsOfWarp(op);
  KernelBuilder k(loc, b);
  RingState &state = rings[op.getRing()];
  Value slot = scalar(op.getSlot()), row = scalar(op.getOffsets()[0]), column = scalar(op.getOffsets()[1]);
  Value to = k.offset(state.buffers[op.getTile()],
                      k.mul(slot, elementsInSlot(op.getRing().getType().getTiles()[op.getTile()])));
  unsigned number = maps.numbers.lookup(op);
  bool isPacked = maps.maps[number].getDims().size() == 4;
  if (op.getEvictFirst() && !isPacked)
    return op.emitOpError("of rows that are not packed cannot evict first");
  auto tile = cast<RankedTensorType>(op.getRing().getType().getTiles()[op.getTile()]);
  auto load = [&](Value to, ArrayRef<Value> coordinates) {
    SmallVector<Value> operands{to, tensorMap(number), k.offset(state.full, slot)};
    llvm::append_range(operands, coordinates);
    if (op.getEvictFirst())
      operands.push_back(evictFirst);
    k.call(llvm::Twine(isPacked ? "tma_load_4d" : "tma_load_2d"), "tma.h", operands);
  };
  auto copy = [&] {
    if (isPacked) {
      StringAttr packing = packingOf(program, op.getView());
      std::array<int64_t, 2> units = tile::packedUnits(packing.getValue());
      load(to, {k.index(0), k.index(0), k.div(column, units[1]), k.div(row, units[0])});
      return;
    }
    // The elements of the map have 16 bits.
    int64_t bytes = bytesOf(tile.getElementType());
    Value first = bytes == 1 ? k.div(column, 2) : bytes == 2 ? column : k.mul(column, bytes / 2);
    for (int64_t slab = 0; slab < tile::slabsOf(tile); ++slab)
      load(slab ? k.offset(to, k.index(slab * elementsOfSlab(tile))) : to,
           {slab ? k.add(first, slab * kSlabBytes / 2) : first, row});
  };
  if (threads.group == ThreadGroup::Fetch)
    k.ifThen(k.equal(lane, 0), copy);
  else
    copy();
  return success();
}

/// Each lane brings a run of rows, slab by slab.
LogicalResult RingLowering::fetchRows(tile::FetchRowsOp op) {
  auto tile = cast<RankedTensorType>(op.getRing().getType().getTiles()[op.getTile()]);
  int64_t run = op.getRun(), rows = tile.getDimSize(0);
  if (threads.group != ThreadGroup::Fetch || !llvm::isPowerOf2_64(run) || run % 8 != 0 || rows > 32 * run)
    return op.emitOpError() << "brings " << rows << " rows in runs of " << run
                            << "; expected a multiple of 8 that is a power of two, up to 32 runs, and producers";
  if (widens(op))
    return widenRows(op);
  RingState &state = rings[op.getRing()];
  prepare(op.getIndices());
  Value row = element(op.getIndices(), index(0));
  KernelBuilder k(loc, b);
  // A run that nobody holds lies before the first row, where there are zeros.
  Value isHeld = arith::CmpIOp::create(k, arith::CmpIPredicate::sge, row, k.i32(0));
  row = k.name("row", k.select(isHeld, row, k.i32(-run)));
  Value slot = scalar(op.getSlot());
  k.ifThen(k.less(lane, rows / run), [&] {
    Value to = k.add(k.mul(slot, elementsInSlot(tile)), k.mul(lane, run * kAtomColumns));
    for (int64_t slab = 0; slab < tile::slabsOf(tile); ++slab)
      k.call("tma_load_2d", "tma.h",
             {k.offset(state.buffers[op.getTile()], k.add(to, slab * elementsOfSlab(tile))),
              tensorMap(maps.numbers.lookup(op)), k.offset(state.full, slot), k.index(slab * kAtomColumns), row});
  });
  cuda::SyncWarpOp::create(b, loc); // before all lanes wait for the next slot
  return success();
}

/// The threads of a warpgroup have written what its products read.
void RingLowering::meetWarpgroup() {
  KernelBuilder k(loc, b);
  Value barrier = k.name("bar", k.offset(meetings.barriers, k.div(warp, kWarpgroup / 32)));
  Value parity = k.name("meeting", k.get(meetings.parity));
  k.call("fence_async_proxy", "shared_address.h", {});
  k.call("mbarrier_arrive", "mbarrier.h", barrier);
  k.call("mbarrier_wait", "mbarrier.h", {barrier, parity});
  k.set(k.sub(k.index(1), parity), meetings.parity);
}

/// Each warp of a warpgroup clears a quarter of each run, a lane the rows of one; where every run is whole or empty,
/// there is nothing to clear, which all lanes of all warps see.
LogicalResult RingLowering::clearRows(tile::ClearRowsOp op) {
  if (threads.group == ThreadGroup::Warp && ringTiles.contains(op.getTile()))
    return clearRowsOfWarp(op);
  auto slot = ringTiles.find(op.getTile());
  int64_t run = op.getRun(), warps = kWarpgroup / 32;
  RankedTensorType tile = tileType(op.getTile());
  if (slot == ringTiles.end() || !meetings.parity || run % warps != 0 || tile.getDimSize(0) > 32 * run)
    return op.emitOpError() << "has no CUDA lowering; expected a tile of a ring, up to 32 runs of a multiple of "
                            << warps << " rows, and consumers";
  auto [buffer, start] = slot->second;
  prepare(op.getHeld());
  Layout layout = registerLayout(op.getHeld());
  auto isHeld = [&](Value reg) { return element(op.getHeld(), reg); };
  auto isNot = [&](Value x) { return Value(arith::XOrIOp::create(b, loc, x, always())); };
  Value isPart = both(isHeld(index(0)), isNot(isHeld(index(run - 1))));
  isPart = both(isPart, insideTile(layout, {tile.getDimSize(0)}, index(0)));
  Value isWhole = call("all_lanes", "warp.h", {isNot(isPart)}, b.getI1Type());
  auto branch = scf::IfOp::create(b, loc, isNot(isWhole), /*withElseRegion=*/false);
  scopes.back().inner = branch;
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(branch.thenYield());
  constexpr int64_t chunk = 8; // elements of 16 bytes
  Value zeros = local(chunk, tile.getElementType(), "zeros");
  Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(tile.getElementType()));
  unrolled(chunk, [&](Value i) { set(zero, zeros, i); });
  unrolled(run / warps, [&](Value i) {
    Value reg = add(mul(arith::RemSIOp::create(b, loc, warp, index(warps)), run / warps), i);
    Value isOut = both(isPart, isNot(isHeld(reg))), row = coordinate(layout, 0, reg);
    KernelBuilder k(loc, b);
    k.ifThen(isOut, [&] {
      Value at = k.add(start, k.mul(row, kAtomColumns));
      k.loop("i", tile::kSlabBytes / 16, KernelBuilder::Unrolled, [&](Value i) {
        for (int64_t slab = 0; slab < tile::slabsOf(tile); ++slab)
          k.call("store_vector<8>", "tile.h",
                 {k.offset(buffer, k.add(k.add(at, slab * elementsOfSlab(tile)), k.mul(i, chunk))),
                  k.address(zeros, k.index(0)), arith::ConstantIntOp::create(k, 1, 1)});
      });
    });
  });
  meetWarpgroup();
  ringTiles[op.getResult()] = ringTiles[op.getTile()];
  return success();
}

LogicalResult RingLowering::wait(tile::WaitOp op) {
  KernelBuilder k(loc, b);
  RingState &state = rings[op.getRing()];
  tile::RingType type = op.getRing().getType();
  Value parity = k.name("filled", k.get(state.consumer.parity));
  Value slot = advance(k, state.consumer, type.getStages());
  k.call("mbarrier_wait", "mbarrier.h", {k.offset(state.full, slot), parity});
  for (auto [i, tile] : llvm::enumerate(op.getTiles())) {
    Value start = k.mul(slot, elementsInSlot(tile.getType()));
    ringTiles[tile] = {state.buffers[i], start};
    if (isScalesInSlot(tile))
      kept[tile] = {k.offset(state.buffers[i], start), tileType(tile).getDimSize(1)};
  }
  return success();
}

LogicalResult RingLowering::release(tile::ReleaseOp op) {
  KernelBuilder k(loc, b);
  RingState &state = rings[op.getRing()];
  if (state.isOfWarp) {
    k.syncWarp();
    return success();
  }
  Value slot = advance(k, state.released, op.getRing().getType().getStages());
  if (isReadByWarps(op.getRing())) {
    k.syncWarp();
    k.ifThen(k.equal(lane, 0), [&] { k.call("mbarrier_arrive", "mbarrier.h", k.offset(state.empty, slot)); });
    return success();
  }
  k.ifThen(k.equal(k.rem(k.special(cuda::Special::ThreadX), kWarpgroup), 0),
           [&] { k.call("mbarrier_arrive", "mbarrier.h", k.offset(state.empty, slot)); });
  return success();
}
