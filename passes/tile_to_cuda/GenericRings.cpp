//===- GenericRings.cpp - rings in shared memory and products that read them ===//
//
// A ring is a buffer for each tile of a slot and two mbarriers for each slot: `full`
// ends a phase when the bytes of all fetches have arrived, `empty` when every
// warpgroup that multiplies has released the slot. Both ends count the slots that they
// have passed (stage) and the parity of the barriers there.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/Families.h"
#include "passes/tile_to_cuda/GenericLowering.h"

using namespace mlir;
using namespace inlay;
using tile::kAtomBytes, tile::kAtomColumns, tile::kGroupRows;

static constexpr int64_t kWarpgroup = 128;

//===----------------------------------------------------------------------===//
// Tensor maps
//===----------------------------------------------------------------------===//

/// The map of the memory that `fetch` reads, in boxes of its tile: weights as they are packed, whose atoms are swizzled
/// already, and rows under the 128-byte swizzle.
static FailureOr<cuda::TensorMapAttr> tensorMapOf(tile::FetchOp fetch) {
  MLIRContext *context = fetch.getContext();
  auto view = cast<tile::ViewType>(fetch.getView().getType());
  auto tile = cast<RankedTensorType>(fetch.getRing().getType().getTiles()[fetch.getTile()]);
  unsigned argument = cast<BlockArgument>(fetch.getView()).getArgNumber();
  int64_t columns = view.getShape()[1], tileRows = tile.getDimSize(0), tileColumns = tile.getDimSize(1);
  if (view.getElementType().getIntOrFloatBitWidth() != 16 || tileColumns != kAtomColumns)
    return fetch.emitError("brings ") << tile << "; expected rows of " << kAtomColumns << " elements of 16 bits";
  auto packing = fetch->getParentOfType<tile::ProgramOp>().getArgAttrOfType<StringAttr>(argument, tile::kPackingAttr);
  if (packing && packing.getValue() == tile::kAtomPacking) {
    int64_t atoms = llvm::divideCeil(columns, kAtomColumns), groups = llvm::divideCeil(view.getShape()[0], kGroupRows);
    return cuda::TensorMapAttr::get(context, argument, view.getElementType(), {kAtomColumns, kGroupRows, atoms, groups},
                                    /*capacity=*/std::nullopt,
                                    /*strides=*/{kAtomColumns * 2, kAtomBytes, atoms * kAtomBytes},
                                    /*box=*/{kAtomColumns, kGroupRows, 1, tileRows / kGroupRows}, /*swizzle=*/0,
                                    /*l2Promotion=*/256);
  }
  if (view.getProvenance() == tile::Provenance::Weight)
    return fetch.emitError("reads weights that are not packed; expected ")
           << tile::kPackingAttr << " = \"" << tile::kAtomPacking << "\"";
  if (columns % 8 != 0)
    return fetch.emitError("reads rows of ") << columns << " columns; TMA takes rows of a multiple of 16 bytes";
  bool isDynamic = ShapedType::isDynamic(view.getShape()[0]);
  if (isDynamic && !view.getExtent())
    return fetch.emitError("reads rows of ") << view << ", whose number is unknown; expected a size of the step";
  // The entry point's maximum of a size multiplies a dimension of 1.
  std::optional<uint32_t> capacity;
  if (isDynamic)
    capacity = static_cast<uint32_t>(*view.getExtent());
  return cuda::TensorMapAttr::get(context, argument, view.getElementType(),
                                  {columns, isDynamic ? 1 : view.getShape()[0]}, capacity, /*strides=*/{columns * 2},
                                  /*box=*/{tileColumns, tileRows}, /*swizzle=*/128, /*l2Promotion=*/256);
}

LogicalResult inlay::collectTensorMaps(tile::ProgramOp program, FetchMaps &maps) {
  WalkResult walk = program.walk([&](tile::FetchOp fetch) {
    if (isa<tile::ForWarpsOp>(fetch.getRing().getDefiningOp()->getParentOp()))
      return WalkResult::advance(); // one bulk copy
    FailureOr<cuda::TensorMapAttr> map = tensorMapOf(fetch);
    if (failed(map))
      return WalkResult::interrupt();
    auto known = llvm::find(maps.maps, *map);
    maps.numbers[fetch] = known - maps.maps.begin();
    if (known == maps.maps.end())
      maps.maps.push_back(*map);
    return WalkResult::advance();
  });
  return failure(walk.wasInterrupted());
}

Value GenericLowering::tensorMap(unsigned i) { return kernel.getArgument(program.getBody().getNumArguments() + i); }

//===----------------------------------------------------------------------===//
// Rings
//===----------------------------------------------------------------------===//

static int64_t elementsOf(Type tile) { return cast<RankedTensorType>(tile).getNumElements(); }

LogicalResult GenericLowering::ring(tile::RingOp op) {
  if (isa<tile::ForWarpsOp>(op->getParentOp()))
    return warpRing(op);
  KernelBuilder k(loc, b);
  tile::RingType type = op.getResult().getType();
  RingState &state = rings[op];
  int64_t stages = type.getStages();
  // What the consumers leave in shared memory goes where the rings were.
  std::optional<int64_t> overlay;
  tile::WarpRolesOp roles;
  program.walk([&](tile::WarpRolesOp found) { roles = found; });
  if (!roles)
    return op.emitOpError("is used by no tile.warp_roles; run tile-specialize-warps first");
  if (roles->getNumResults() > 0)
    overlay = kRingOverlay;
  for (auto [i, tile] : llvm::enumerate(type.getTiles()))
    state.buffers.push_back(k.shared("ring" + std::to_string(i), cast<RankedTensorType>(tile).getElementType(),
                                     stages * type.tileBytes(i), kAtomBytes, overlay));
  state.full = k.shared("full", k.getI64Type(), stages * 8);
  state.empty = k.shared("empty", k.getI64Type(), stages * 8);
  k.ifThen(k.equal(k.special(cuda::Special::ThreadX), 0), [&] {
    k.loop("i", stages, KernelBuilder::Unrolled, [&](Value i) {
      k.call("mbarrier_init", "mbarrier.h", {k.offset(state.full, i), k.i32(1)});
      k.call("mbarrier_init", "mbarrier.h", {k.offset(state.empty, i), k.i32(roles.getConsumers() * 32 / kWarpgroup)});
    });
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

void GenericLowering::startCursors(bool ofProducers) {
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
    cursor.parity = k.local("parity", {}, type, start);
    if (!ofProducers)
      state.released.stage = k.local("released", {}, type, k.index(0));
  }
}

LogicalResult GenericLowering::acquire(tile::AcquireOp op) {
  KernelBuilder k(loc, b);
  RingState &state = rings[op.getRing()];
  int64_t stages = op.getRing().getType().getStages();
  Value slot;
  if (op.getFirst()) {
    slot = scalar(op.getFirst());
  } else if (state.isOfWarp) {
    slot = advance(k, state.producer, stages);
  } else {
    Value parity = k.sub(k.index(1), k.get(state.producer.parity));
    parity = k.name("emptied", parity);
    slot = advance(k, state.producer, stages);
    k.call("mbarrier_wait", "mbarrier.h", {k.offset(state.empty, slot), parity});
  }
  // The one fetch of a warp's slot announces its own bytes.
  if (!state.isOfWarp)
    k.call("mbarrier_arrive_expect", "mbarrier.h",
           {k.offset(state.full, slot), k.i32(op.getRing().getType().slotBytes())});
  scalars[op.getSlot()] = slot;
  return success();
}

LogicalResult GenericLowering::fetch(tile::FetchOp op) {
  if (rings[op.getRing()].isOfWarp)
    return fetchOfWarp(op);
  KernelBuilder k(loc, b);
  RingState &state = rings[op.getRing()];
  Value slot = scalar(op.getSlot()), row = scalar(op.getOffsets()[0]), column = scalar(op.getOffsets()[1]);
  Value to =
      k.offset(state.buffers[op.getTile()], k.mul(slot, elementsOf(op.getRing().getType().getTiles()[op.getTile()])));
  unsigned number = maps.numbers.lookup(op);
  SmallVector<Value> operands{to, tensorMap(number), k.offset(state.full, slot)};
  bool isPacked = maps.maps[number].getDims().size() == 4;
  if (isPacked)
    operands.append({k.index(0), k.index(0), k.div(column, kAtomColumns), k.div(row, kGroupRows)});
  else
    operands.append({column, row});
  if (op.getEvictFirst())
    operands.push_back(evictFirst);
  if (op.getEvictFirst() && !isPacked)
    return op.emitOpError("of rows that are not packed cannot evict first");
  k.call(llvm::Twine(isPacked ? "tma_load_4d" : "tma_load_2d"), "tma.h", operands);
  return success();
}

LogicalResult GenericLowering::wait(tile::WaitOp op) {
  KernelBuilder k(loc, b);
  RingState &state = rings[op.getRing()];
  tile::RingType type = op.getRing().getType();
  Value parity = k.name("filled", k.get(state.consumer.parity));
  Value slot = advance(k, state.consumer, type.getStages());
  k.call("mbarrier_wait", "mbarrier.h", {k.offset(state.full, slot), parity});
  for (auto [i, tile] : llvm::enumerate(op.getTiles()))
    ringTiles[tile] = {state.buffers[i], k.mul(slot, elementsOf(tile.getType()))};
  return success();
}

LogicalResult GenericLowering::release(tile::ReleaseOp op) {
  KernelBuilder k(loc, b);
  RingState &state = rings[op.getRing()];
  if (state.isOfWarp) {
    k.syncWarp();
    return success();
  }
  Value slot = advance(k, state.released, op.getRing().getType().getStages());
  k.ifThen(k.equal(k.rem(k.special(cuda::Special::ThreadX), kWarpgroup), 0),
           [&] { k.call("mbarrier_arrive", "mbarrier.h", k.offset(state.empty, slot)); });
  return success();
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// Each warpgroup multiplies 64 rows of the left tile by the right one, in steps of 16 along k.
LogicalResult GenericLowering::dotAsync(tile::DotAsyncOp op) {
  RankedTensorType lhs = tileType(op.getLhs()), rhs = tileType(op.getRhs()), type = tileType(op.getResult());
  auto left = ringTiles.find(op.getLhs()), right = ringTiles.find(op.getRhs());
  if (left == ringTiles.end() || right == ringTiles.end())
    return op.emitOpError("has an operand that is in no slot of a ring");
  int64_t groups = threads.warps * 32 / kWarpgroup;
  if (lhs.getDimSize(0) != 64 * groups || rhs.getDimSize(0) % 8 != 0 || rhs.getDimSize(0) > 256)
    return op.emitOpError() << "has " << lhs << " and " << rhs << " for " << groups
                            << " warpgroups; expected 64 rows on the left for each, and up to 256 on the right";
  Layout layout = layouts.of(op.getResult());
  Value sums = materialize(op.getAccumulator(), layout, "sums");

  KernelBuilder k(loc, b);
  Type i64 = k.getI64Type();
  int64_t depth = lhs.getDimSize(1);
  Value own = k.mul(k.div(warp, kWarpgroup / 32), 64 * depth);
  auto describe = [&](StringRef name, Value pointer) {
    return k.name(name, k.call(i64, "swizzled_tile", "wgmma.h", pointer));
  };
  Value a = describe("left", k.offset(left->second.first, k.add(left->second.second, own)));
  Value c = describe("right", k.offset(right->second.first, right->second.second));
  std::string element = lhs.getElementType().isBF16() ? "bfloat16" : "float16";
  Value yes = arith::ConstantIntOp::create(k, 1, 1), accumulates = yes;
  if (auto first = firstProducts.find(op.getAccumulator()); first != firstProducts.end())
    accumulates = first->second();
  k.call("wgmma_fence", "wgmma.h", {});
  for (int64_t step = 0; step < depth / 16; ++step) {
    // 16 elements are 32 bytes, 2 in the units of a descriptor.
    auto forward = [&](Value tile) -> Value {
      return step == 0 ? tile
                       : arith::AddIOp::create(k, tile, arith::ConstantIntOp::create(k, 2 * step, 64)).getResult();
    };
    k.call("wgmma_m64k16<" + element + ", " + llvm::Twine(type.getDimSize(1)) + ">", "wgmma.h",
           {sums, forward(a), forward(c), step == 0 ? accumulates : yes});
  }
  k.call("wgmma_commit", "wgmma.h", {});
  define(op.getResult(), layout, sums);
  return success();
}

LogicalResult GenericLowering::dotWait(tile::DotWaitOp op) {
  call("wgmma_wait<" + std::to_string(op.getPending()) + ">", "wgmma.h", {});
  Layout layout = layouts.of(op.getResult());
  define(op.getResult(), layout, arrayOf(op.getSums(), layout));
  return success();
}
