//===- LowerSwapAb.cpp - linear layers of a batch, weights on wgmma's M ----===//
//
// A step of 9 to 256 rows would leave most of a 128-row tile empty. Here rows of
// weights stand on the side of wgmma that has a fixed size, 64 for each of one or
// two warpgroups, and the step's rows on the side that has any: y^T = W x^T. A producer
// warp fills a ring, its first pass with weights before the kernel before has
// ended. Where the weights have few tiles, the blocks of a cluster share K and read
// each other's sums from shared memory, each for a part of the rows.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/LinearEpilogue.h"
#include "passes/tile_to_cuda/LinearOperands.h"

using namespace mlir;
using namespace inlay;
using tile::kAtomBytes, tile::kGroupRows;

namespace {
constexpr int64_t kWarpgroup = 128;
constexpr int64_t kRings = 0, kSums = 1; // overlays of shared memory: the sums go where the rings were
/// Pairs of columns in a row that a thread takes together: what the epilogue computes of the row serves them all.
constexpr int64_t kPairsOfThread = 4;

class SwapAbLowering {
public:
  SwapAbLowering(tile::ProgramOp program, const MainLoop &loop, tile::SwapAbAttr schedule, const LayerRows &layerRows,
                 cuda::KernelOp kernel)
      : program(program), loop(loop), schedule(schedule), layerRows(layerRows), kernel(kernel),
        b(UnknownLoc::get(program.getContext()), program.getContext()) {}
  LogicalResult run();

private:
  Value pointerOf(Value view) { return kernel.getArgument(cast<BlockArgument>(view).getArgNumber()); }
  Value map(unsigned i) { return kernel.getArgument(program.getArgumentTypes().size() + i); }
  void setUp();
  void loadWeights(Value slot, Value step);
  void loadRows(Value slot, Value step);
  void produce();
  void consume();
  void multiply(Value acc, Value slot, Value step);
  void storeSums(Value acc);
  std::pair<Value, Value> sumsOf(Value row, Value column);
  LogicalResult epilogue();

  tile::ProgramOp program;
  MainLoop loop;
  tile::SwapAbAttr schedule;
  LayerRows layerRows;
  cuda::KernelOp kernel;
  KernelBuilder b;

  int64_t columns() { return loop.weight.getView().getType().getShape()[0]; }

  std::string element;
  Value zero, thread, warp, rank, columnTile, firstRow, firstStep, count;
  Value rowsRing, weightsRing, sums, full, empty, drained, policy;
};
} // namespace

void SwapAbLowering::setUp() {
  zero = b.index(0);
  thread = b.name("thread", b.special(cuda::Special::ThreadX));
  warp = b.name("warp", b.special(cuda::Special::Warp));
  rank = schedule.getSplit() == 1 ? zero : b.name("rank", b.special(cuda::Special::ClusterRank));
  columnTile = b.name("column_tile", b.div(b.special(cuda::Special::BlockX), schedule.getSplit()));
  firstRow = b.name("first_row", b.mul(b.special(cuda::Special::BlockY), schedule.getTileRows()));
  int64_t steps = llvm::divideCeil(loop.k, schedule.getTileK()), share = schedule.share(loop.k);
  firstStep = b.name("first_step", b.mul(rank, share));
  count =
      steps % share == 0 ? b.index(share) : b.name("steps", b.min(b.index(share), b.sub(b.index(steps), firstStep)));

  Type type = loop.weight.getView().getType().getElementType();
  weightsRing =
      b.shared("weights_ring", type, schedule.getStages() * schedule.getTileColumns() * schedule.getTileK() * 2,
               kAtomBytes, kRings);
  rowsRing = b.shared("rows_ring", type, schedule.getStages() * schedule.getTileRows() * schedule.getTileK() * 2,
                      kAtomBytes, kRings);
  full = b.shared("full", b.getI64Type(), schedule.getStages() * 8);
  empty = b.shared("empty", b.getI64Type(), schedule.getStages() * 8);
  drained = b.shared("drained", b.getI64Type(), 8);
  sums = b.shared("sums", b.getF32Type(), schedule.sumsBytes(), kAtomBytes, kSums);
  b.ifThen(b.equal(thread, 0), [&] {
    b.loop("i", schedule.getStages(), KernelBuilder::Unrolled, [&](Value i) {
      b.call("mbarrier_init", "mbarrier.h", {b.offset(full, i), b.i32(1)});
      b.call("mbarrier_init", "mbarrier.h", {b.offset(empty, i), b.i32(schedule.getConsumers())});
    });
    b.call("mbarrier_init", "mbarrier.h", {drained, b.i32(schedule.getConsumers() * kWarpgroup)});
    b.call("fence_mbarrier_init", "mbarrier.h", {});
  });
  b.barrier();
}

void SwapAbLowering::loadWeights(Value slot, Value step) {
  Value bar = b.name("bar", b.offset(full, slot));
  b.call("mbarrier_arrive_expect", "mbarrier.h", {bar, b.i32(schedule.stageBytes())});
  b.call("tma_load_4d", "tma.h",
         {b.offset(weightsRing, b.mul(slot, schedule.getTileColumns() * schedule.getTileK())), map(1), bar, zero, zero,
          b.add(firstStep, step), b.mul(columnTile, schedule.getTileColumns() / kGroupRows), policy});
}

void SwapAbLowering::loadRows(Value slot, Value step) {
  b.call("tma_load_2d", "tma.h",
         {b.offset(rowsRing, b.mul(slot, schedule.getTileRows() * schedule.getTileK())), map(0), b.offset(full, slot),
          b.add(b.mul(b.add(firstStep, step), schedule.getTileK()), loop.columnOffset), firstRow});
}

/// Weights as far as the ring goes, then the wait, then their rows, then both together.
void SwapAbLowering::produce() {
  b.ifThen(b.equal(b.special(cuda::Special::Lane), 0), [&] {
    policy = b.name("policy", b.call(b.getI64Type(), "evict_first_policy", "bulk_copy.h", {}));
    b.call("prefetch_tensor_map", "tma.h", map(0));
    Value early = b.name("early", b.min(count, b.index(schedule.getStages())));
    b.comment("What nobody on the device writes comes before the wait.");
    b.loop("step", zero, early, b.index(1), KernelBuilder::Rolled, [&](Value step) { loadWeights(step, step); });
    cuda::DependOp::create(b);
    b.loop("step", zero, early, b.index(1), KernelBuilder::Rolled, [&](Value step) { loadRows(step, step); });
    // Where a block's steps all fit the ring, it fills no stage again.
    if (schedule.share(loop.k) <= schedule.getStages())
      return;
    b.loop("step", early, count, b.index(1), KernelBuilder::Rolled, [&](Value step) {
      Value slot = b.name("slot", b.rem(step, schedule.getStages()));
      Value pass = b.name("pass", b.div(step, schedule.getStages()));
      b.call("mbarrier_wait", "mbarrier.h", {b.offset(empty, slot), b.rem(b.sub(pass, 1), 2)});
      loadWeights(slot, step);
      loadRows(slot, step);
    });
  });
  b.syncWarp();
}

/// 64 rows of weights times all rows of the step, over 64 of k.
void SwapAbLowering::multiply(Value acc, Value slot, Value step) {
  Type i64 = b.getI64Type();
  Value ours = b.mul(b.div(warp, 4), 64 * schedule.getTileK());
  Value weights = b.add(b.mul(slot, schedule.getTileColumns() * schedule.getTileK()), ours);
  Value left = b.name("left", b.call(i64, "swizzled_tile", "wgmma.h", b.offset(weightsRing, weights)));
  Value rows = b.offset(rowsRing, b.mul(slot, schedule.getTileRows() * schedule.getTileK()));
  Value right = b.name("right", b.call(i64, "swizzled_tile", "wgmma.h", rows));
  b.call("wgmma_fence", "wgmma.h", {});
  for (int64_t k = 0; k < schedule.getTileK() / 16; ++k) {
    // 16 elements are 32 bytes, 2 in the units of a descriptor.
    auto forward = [&](Value tile) -> Value {
      return k == 0 ? tile : arith::AddIOp::create(b, tile, arith::ConstantIntOp::create(b, 2 * k, 64)).getResult();
    };
    Value accumulate = k == 0 ? b.less(zero, step) : arith::ConstantIntOp::create(b, 1, 1).getResult();
    b.call("wgmma_m64k16<" + element + ", " + llvm::Twine(schedule.getTileRows()) + ">", "wgmma.h",
           {acc, forward(left), forward(right), accumulate});
  }
  b.call("wgmma_commit", "wgmma.h", {});
}

void SwapAbLowering::consume() {
  Value isFirstThread = b.name("is_first_thread", b.equal(b.rem(thread, kWarpgroup), 0));
  Value acc = b.local("acc", {schedule.getTileRows() / 2}, b.getF32Type());
  b.loop("step", zero, count, b.index(1), KernelBuilder::Rolled, [&](Value step) {
    Value slot = b.name("slot", b.rem(step, schedule.getStages()));
    b.call("mbarrier_wait", "mbarrier.h", {b.offset(full, slot), b.rem(b.div(step, schedule.getStages()), 2)});
    multiply(acc, slot, step);
    b.comment("The products of the step before are done: its stage can be filled again.");
    b.call("wgmma_wait<1>", "wgmma.h", {});
    b.ifThen(b.both(isFirstThread, b.less(zero, step)), [&] {
      b.call("mbarrier_arrive", "mbarrier.h", b.offset(empty, b.rem(b.sub(step, 1), schedule.getStages())));
    });
  });
  b.call("wgmma_wait<0>", "wgmma.h", {});
  b.comment("Both warpgroups are done with the rings, where the sums go.");
  b.call("mbarrier_arrive", "mbarrier.h", drained);
  b.call("mbarrier_wait", "mbarrier.h", {drained, b.i32(0)});
  storeSums(acc);
}

/// A thread has, of each 8 rows of the step, a pair for each of two columns.
void SwapAbLowering::storeSums(Value acc) {
  Value g = b.div(b.rem(thread, 32), 4), t = b.rem(thread, 4);
  Value column = b.name("column", b.add(b.mul(warp, 16), g));
  Value at = b.name("at", b.add(b.mul(t, 2 * schedule.sumsPitch()), column));
  b.loop("block", schedule.getTileRows() / 8, KernelBuilder::Unrolled, [&](Value block) {
    for (int64_t half : {0, 1})
      for (int64_t odd : {0, 1})
        b.store(b.get(acc, b.add(b.mul(block, 4), 2 * half + odd)), sums,
                b.add(at, b.add(b.mul(block, 8 * schedule.sumsPitch()), odd * schedule.sumsPitch() + 8 * half)));
  });
}

/// The sums of the whole K of a row's `column`, which is even, and the next one. Always in the same order, so that they
/// don't depend on who adds them up.
std::pair<Value, Value> SwapAbLowering::sumsOf(Value row, Value column) {
  Value at = b.name("at", b.add(b.mul(row, schedule.sumsPitch()), column));
  if (schedule.getSplit() == 1)
    return {b.load(sums, at), b.load(sums, b.add(at, 1))};
  Value even, odd;
  for (int64_t block = 0; block < schedule.getSplit(); ++block) {
    Value pair = b.call(b.getI64Type(), "load_pair_of_block", "warp.h", {b.offset(sums, at), b.i32(block), rank});
    Value first = b.call(b.getF32Type(), "first_of_pair", "warp.h", pair);
    Value second = b.call(b.getF32Type(), "second_of_pair", "warp.h", pair);
    even = even ? b.addF(even, first) : first;
    odd = odd ? b.addF(odd, second) : second;
  }
  return {even, odd};
}

/// The blocks of a cluster take turns with rows' pairs of columns; neighbouring threads have neighbouring pairs.
LogicalResult SwapAbLowering::epilogue() {
  LogicalResult result = success();
  int64_t threadsOfRow = schedule.getTileColumns() / 2 / kPairsOfThread, threads = kernel.getThreads();
  Value rows = b.name("rows", b.min(b.index(schedule.getTileRows()), b.sub(layerRows.count(b), firstRow)));
  Value first = b.name("first", b.add(b.mul(rank, threads), thread));
  Value units = b.name("units", b.mul(rows, threadsOfRow));
  b.loop("unit", first, units, b.index(schedule.getSplit() * threads), KernelBuilder::Rolled, [&](Value unit) {
    LinearEpilogue epilogue(b, program, loop, schedule.getTileColumns(),
                            [this](Value view) { return pointerOf(view); });
    Value rowInBlock = b.name("row_in_block", b.div(unit, threadsOfRow));
    Value row = b.name("row", b.add(firstRow, rowInBlock));
    for (int64_t i = 0; i < kPairsOfThread; ++i) {
      Value pair = b.add(b.rem(unit, threadsOfRow), i * threadsOfRow);
      Value columnInBlock = b.name("column_in_block", b.mul(pair, 2));
      Value column = b.name("column", b.add(b.mul(columnTile, schedule.getTileColumns()), columnInBlock));
      auto [even, odd] = sumsOf(rowInBlock, columnInBlock);
      epilogue.read(row, column, even, odd, arith::ConstantIntOp::create(b, 1, 1));
    }
    if (failed(epilogue.write()))
      result = failure();
  });
  return result;
}

LogicalResult SwapAbLowering::run() {
  Type weights = loop.weight.getView().getType().getElementType();
  element = weights.isBF16() ? "bfloat16" : "float16";
  b.setInsertionPointToStart(&kernel.getBody().front());
  setUp();
  b.ifThen(b.less(warp, schedule.getConsumers() * 4), [&] { consume(); }, [&] { produce(); });
  cuda::DependOp::create(b);
  if (schedule.getSplit() == 1)
    b.barrier();
  else
    b.call("cluster_barrier", "warp.h", {});
  if (failed(epilogue()))
    return failure();
  if (schedule.getSplit() > 1) {
    b.comment("No block leaves while another reads its memory.");
    b.call("cluster_leave", "warp.h", {});
  }
  kernel.setSharedBytes(schedule.getSharedBytes());
  kernel.setMinBlocks(schedule.getSlots());
  addTmaMaps(loop, layerRows, schedule.getTileRows(), schedule.getTileColumns(), schedule.getTileK(), kernel);
  cuda::Count blocks;
  blocks.multiplier = llvm::divideCeil(columns(), schedule.getTileColumns()) * schedule.getSplit();
  kernel.setGridAttr(cuda::GridAttr::get(program.getContext(), {blocks, layerRows.tilesOf(schedule.getTileRows())}));
  return success();
}

LogicalResult inlay::lowerSwapAb(tile::ProgramOp program, OpBuilder &builder) {
  FailureOr<MainLoop> loop = findMainLoop(program);
  if (failed(loop))
    return failure();
  if (failed(requireTmaOperands(program, *loop, "swap_ab")))
    return failure();
  auto schedule = cast<tile::SwapAbAttr>(program.getScheduleAttr());
  if (!schedule.givesEachBlockSteps(loop->k))
    return program.emitError("splits ") << llvm::divideCeil(loop->k, schedule.getTileK()) << " steps of k over "
                                        << schedule.getSplit() << " blocks; expected each to have one";
  if (schedule.getTileColumns() % loop->columns != 0 && loop->columns % schedule.getTileColumns() != 0)
    return loop->dot.emitError("computes ") << loop->columns << " columns, which neither divide the kernel's "
                                            << schedule.getTileColumns() << " nor are a multiple of them";
  FailureOr<cuda::KernelOp> kernel =
      createKernel(program, builder, schedule.getConsumers() * kWarpgroup + 32, /*maps=*/2);
  if (failed(kernel))
    return failure();
  SwapAbLowering lowering(program, *loop, schedule, LayerRows(program, *loop), *kernel);
  return lowering.run();
}
