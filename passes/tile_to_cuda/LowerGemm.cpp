//===- LowerGemm.cpp - linear layers of many rows, on warpgroups -----------===//
//
// A block runs through tiles of 128 rows x 256 columns. One warpgroup produces: a
// thread of it fetches both operands through TMA into a ring of stages. The other
// two consume, 64 rows each: wgmma with the sums in registers, where neighbouring
// columns are neighbouring registers, so that the epilogue runs on them as they
// are. A tile covers several of the program's own tiles.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/LinearEpilogue.h"
#include "passes/tile_to_cuda/LinearOperands.h"

using namespace mlir;
using namespace inlay;
using tile::kAtomBytes, tile::kGroupRows;

namespace {
constexpr int64_t kWarpgroup = 128;
constexpr int64_t kStagedColumns = tile::GemmAttr::kStagedColumns, kStagedPitch = tile::GemmAttr::kStagedPitch,
                  kStagedRows = tile::GemmAttr::kStagedRows;
/// A lane's pairs of columns in a row of a part, 8 lanes a row: what the epilogue computes of a row serves them all. Of
/// so many rows a lane's reads are under way together.
constexpr int64_t kLanesOfRow = 8, kPairsOfLane = kStagedColumns / 2 / kLanesOfRow, kRowsOfLane = 2;

class GemmLowering {
public:
  GemmLowering(tile::ProgramOp program, const MainLoop &loop, tile::GemmAttr schedule, const LayerRows &layerRows,
               cuda::KernelOp kernel)
      : program(program), loop(loop), schedule(schedule), layerRows(layerRows), kernel(kernel),
        b(UnknownLoc::get(program.getContext()), program.getContext()) {}
  LogicalResult run();

private:
  Value pointerOf(Value view) { return kernel.getArgument(cast<BlockArgument>(view).getArgNumber()); }
  Value map(unsigned i) { return kernel.getArgument(program.getArgumentTypes().size() + i); }
  void forTiles(llvm::function_ref<void(Value rowTile, Value columnTile)> body);
  void advance(Value stage, Value parity);
  void produce();
  LogicalResult consume();
  LogicalResult epilogue(Value acc, Value rowTile, Value columnTile);

  tile::ProgramOp program;
  MainLoop loop;
  tile::GemmAttr schedule;
  LayerRows layerRows;
  cuda::KernelOp kernel;
  KernelBuilder b;

  int64_t steps = 0; // of a tile along k
  std::string element;
  Value zero, thread, warpgroup, rowTileCount, tiles;
  Value rowsRing, weightsRing, staged, full, empty;
};
} // namespace

/// The tiles of this block, rows first: the blocks that run at a time share few columns of weights.
void GemmLowering::forTiles(llvm::function_ref<void(Value, Value)> body) {
  b.loop("tile", b.special(cuda::Special::BlockX), tiles, b.index(schedule.getBlocks()), KernelBuilder::Rolled,
         [&](Value tile) {
           body(b.name("row_tile", b.rem(tile, rowTileCount)), b.name("column_tile", b.div(tile, rowTileCount)));
         });
}

/// The next stage of the ring; the parity turns where it begins anew.
void GemmLowering::advance(Value stage, Value parity) {
  Value next = b.name("next_stage", b.add(b.get(stage), 1));
  Value wraps = b.name("wraps", b.equal(next, schedule.getStages()));
  b.set(b.select(wraps, zero, next), stage);
  b.set(b.select(wraps, b.sub(b.index(1), b.get(parity)), b.get(parity)), parity);
}

void GemmLowering::produce() {
  b.call("setmaxnreg_dec<" + llvm::Twine(schedule.getProducerRegisters()) + ">", "registers.h", {});
  Value isIssuer = b.equal(thread, 0);
  b.ifThen(isIssuer, [&] {
    b.call("prefetch_tensor_map", "tma.h", map(0));
    b.call("prefetch_tensor_map", "tma.h", map(1));
    cuda::DependOp::create(b);
    Value stage = b.local("stage", {}, b.getIndexType(), zero), parity = b.local("parity", {}, b.getIndexType(), zero);
    forTiles([&](Value rowTile, Value columnTile) {
      b.loop("step", steps, KernelBuilder::Rolled, [&](Value step) {
        Value at = b.name("at", b.get(stage));
        // The consumers' first release is of the ring's first use, so the first pass waits for nothing.
        b.call("mbarrier_wait", "mbarrier.h", {b.offset(empty, at), b.sub(b.index(1), b.get(parity))});
        Value bar = b.name("bar", b.offset(full, at));
        b.call("mbarrier_arrive_expect", "mbarrier.h", {bar, b.i32(schedule.stageBytes())});
        b.call("tma_load_2d", "tma.h",
               {b.offset(rowsRing, b.mul(at, schedule.getTileRows() * schedule.getTileK())), map(0), bar,
                b.add(b.mul(step, schedule.getTileK()), loop.columnOffset), b.mul(rowTile, schedule.getTileRows())});
        b.call("tma_load_4d", "tma.h",
               {b.offset(weightsRing, b.mul(at, schedule.getTileColumns() * schedule.getTileK())), map(1), bar, zero,
                zero, step, b.mul(columnTile, schedule.getTileColumns() / kGroupRows)});
        advance(stage, parity);
      });
    });
  });
}

LogicalResult GemmLowering::consume() {
  LogicalResult result = success();
  b.call("setmaxnreg_inc<" + llvm::Twine(schedule.getConsumerRegisters()) + ">", "registers.h", {});
  cuda::DependOp::create(b);
  Value consumer = b.name("consumer", b.sub(warpgroup, 1));
  Value isFirstThread = b.name("is_first_thread", b.equal(b.rem(thread, kWarpgroup), 0));
  Value stage = b.local("stage", {}, b.getIndexType(), zero), parity = b.local("parity", {}, b.getIndexType(), zero);
  int64_t sums = schedule.getTileColumns() / 2; // 64 rows of f32 over 128 threads
  forTiles([&](Value rowTile, Value columnTile) {
    Value acc = b.local("acc", {sums}, b.getF32Type());
    b.loop("step", steps, KernelBuilder::Rolled, [&](Value step) {
      Value at = b.name("at", b.get(stage));
      b.call("mbarrier_wait", "mbarrier.h", {b.offset(full, at), b.get(parity)});
      Type i64 = b.getI64Type();
      Value rows =
          b.add(b.mul(at, schedule.getTileRows() * schedule.getTileK()), b.mul(consumer, 64 * schedule.getTileK()));
      Value left = b.name("left", b.call(i64, "swizzled_tile", "wgmma.h", b.offset(rowsRing, rows)));
      Value right =
          b.name("right", b.call(i64, "swizzled_tile", "wgmma.h",
                                 b.offset(weightsRing, b.mul(at, schedule.getTileColumns() * schedule.getTileK()))));
      b.call("wgmma_fence", "wgmma.h", {});
      for (int64_t k = 0; k < schedule.getTileK() / 16; ++k) {
        // 16 elements are 32 bytes, 2 in the units of a descriptor.
        auto forward = [&](Value tile) -> Value {
          return k == 0 ? tile : arith::AddIOp::create(b, tile, arith::ConstantIntOp::create(b, 2 * k, 64)).getResult();
        };
        Value accumulate = k == 0 ? b.less(zero, step) : arith::ConstantIntOp::create(b, 1, 1).getResult();
        b.call("wgmma_m64k16<" + element + ", " + llvm::Twine(schedule.getTileColumns()) + ">", "wgmma.h",
               {acc, forward(left), forward(right), accumulate});
      }
      b.call("wgmma_commit", "wgmma.h", {});
      b.comment("The products of the step before are done: its stage can be filled again.");
      b.call("wgmma_wait<1>", "wgmma.h", {});
      b.ifThen(b.both(isFirstThread, b.less(zero, step)), [&] {
        Value before = b.select(b.equal(at, 0), b.index(schedule.getStages() - 1), b.sub(at, 1));
        b.call("mbarrier_arrive", "mbarrier.h", b.offset(empty, before));
      });
      advance(stage, parity);
    });
    b.call("wgmma_wait<0>", "wgmma.h", {});
    b.ifThen(isFirstThread, [&] {
      Value at = b.get(stage);
      Value before = b.select(b.equal(at, 0), b.index(schedule.getStages() - 1), b.sub(at, 1));
      b.call("mbarrier_arrive", "mbarrier.h", b.offset(empty, before));
    });
    if (succeeded(result))
      result = epilogue(acc, rowTile, columnTile);
  });
  return result;
}

/// A warp's 16 rows go through shared memory, 64 columns at a time, so that neighbouring lanes read and write
/// neighbouring pairs, in a loop: unrolled over the registers the text of an epilogue does not fit the instruction
/// cache.
LogicalResult GemmLowering::epilogue(Value acc, Value rowTile, Value columnTile) {
  LogicalResult result = success();
  Value warpOfTile = b.name("warp_of_tile", b.sub(b.special(cuda::Special::Warp), 4));
  Value lane = b.name("lane", b.special(cuda::Special::Lane));
  Value firstRow = b.name("first_row", b.add(b.mul(rowTile, schedule.getTileRows()), b.mul(warpOfTile, kStagedRows)));
  Value base = b.name("base", b.mul(warpOfTile, kStagedRows * kStagedPitch));
  Value own = b.name("own", b.add(base, b.add(b.mul(b.div(lane, 4), kStagedPitch), b.mul(b.rem(lane, 4), 2))));
  b.loop("part", schedule.getTileColumns() / kStagedColumns, KernelBuilder::Unrolled, [&](Value part) {
    b.loop("block", kStagedColumns / 8, KernelBuilder::Unrolled, [&](Value block) {
      for (int64_t half : {0, 1})
        for (int64_t odd : {0, 1})
          b.store(b.get(acc, b.add(b.mul(b.add(b.mul(part, kStagedColumns / 8), block), 4), 2 * half + odd)), staged,
                  b.add(own, b.add(b.mul(block, 8), half * 8 * kStagedPitch + odd)));
    });
    b.syncWarp();
    Value firstColumn = b.add(b.mul(columnTile, schedule.getTileColumns()), b.mul(part, kStagedColumns));
    Value rowOfLane = b.div(lane, kLanesOfRow), pair = b.mul(b.rem(lane, kLanesOfRow), 2);
    int64_t rowsAtOnce = kRowsOfLane * 32 / kLanesOfRow;
    b.loop("from", zero, b.index(kStagedRows), b.index(rowsAtOnce), KernelBuilder::Rolled, [&](Value from) {
      LinearEpilogue rows(b, program, loop, schedule.getTileColumns(), [this](Value view) { return pointerOf(view); });
      for (int64_t i = 0; i < kRowsOfLane; ++i) {
        Value rowOfWarp = b.name("row_of_warp", b.add(b.add(from, i * 32 / kLanesOfRow), rowOfLane));
        Value row = b.name("row", b.add(firstRow, rowOfWarp));
        Value isOwned = b.less(row, layerRows.count(b));
        for (int64_t p = 0; p < kPairsOfLane; ++p) {
          Value inPart = b.add(pair, p * 2 * kLanesOfRow);
          Value at = b.name("at", b.add(base, b.add(b.mul(rowOfWarp, kStagedPitch), inPart)));
          Value even = b.load(staged, at), odd = b.load(staged, b.add(at, 1));
          rows.read(row, b.name("column", b.add(firstColumn, inPart)), even, odd, isOwned);
        }
      }
      if (failed(rows.write()))
        result = failure();
    });
    b.syncWarp();
  });
  return result;
}

LogicalResult GemmLowering::run() {
  auto weights = loop.weight.getView().getType();
  b.setInsertionPointToStart(&kernel.getBody().front());
  steps = llvm::divideCeil(loop.k, schedule.getTileK());
  element = weights.getElementType().isBF16() ? "bfloat16" : "float16";
  zero = b.index(0);
  thread = b.name("thread", b.special(cuda::Special::ThreadX));
  warpgroup = b.name("warpgroup", b.div(b.special(cuda::Special::Warp), 4));
  rowTileCount =
      b.name("row_tiles", b.div(b.add(layerRows.count(b), schedule.getTileRows() - 1), schedule.getTileRows()));
  tiles = b.name("tiles", b.mul(rowTileCount, llvm::divideCeil(weights.getShape()[0], schedule.getTileColumns())));

  Type type = weights.getElementType();
  rowsRing =
      b.shared("rows_ring", type, schedule.getStages() * schedule.getTileRows() * schedule.getTileK() * 2, kAtomBytes);
  weightsRing = b.shared("weights_ring", type,
                         schedule.getStages() * schedule.getTileColumns() * schedule.getTileK() * 2, kAtomBytes);
  staged = b.shared("staged", b.getF32Type(), schedule.stagedBytes(), 16);
  full = b.shared("full", b.getI64Type(), schedule.getStages() * 8);
  empty = b.shared("empty", b.getI64Type(), schedule.getStages() * 8);
  b.ifThen(b.equal(thread, 0), [&] {
    b.loop("i", schedule.getStages(), KernelBuilder::Unrolled, [&](Value i) {
      b.call("mbarrier_init", "mbarrier.h", {b.offset(full, i), b.i32(1)});
      b.call("mbarrier_init", "mbarrier.h", {b.offset(empty, i), b.i32(schedule.getConsumers())});
    });
    b.call("fence_mbarrier_init", "mbarrier.h", {});
  });
  b.barrier();
  LogicalResult result = success();
  b.ifThen(b.equal(warpgroup, 0), [&] { produce(); }, [&] { result = consume(); });
  if (failed(result))
    return failure();
  addTmaMaps(loop, layerRows, schedule.getTileRows(), schedule.getTileColumns(), schedule.getTileK(), kernel);
  cuda::Count blocks;
  blocks.multiplier = schedule.getBlocks();
  kernel.setGridAttr(cuda::GridAttr::get(program.getContext(), {blocks}));
  return success();
}

LogicalResult inlay::lowerGemm(tile::ProgramOp program, OpBuilder &builder) {
  FailureOr<MainLoop> loop = findMainLoop(program);
  if (failed(loop))
    return failure();
  if (failed(requireTmaOperands(program, *loop, "gemm")))
    return failure();
  auto schedule = cast<tile::GemmAttr>(program.getScheduleAttr());
  if (schedule.getTileColumns() % loop->columns != 0)
    return loop->dot.emitError("computes ")
           << loop->columns << " columns, which do not divide the kernel's " << schedule.getTileColumns();
  FailureOr<cuda::KernelOp> kernel =
      createKernel(program, builder, (schedule.getConsumers() + 1) * kWarpgroup, /*maps=*/2);
  if (failed(kernel))
    return failure();
  GemmLowering lowering(program, *loop, schedule, LayerRows(program, *loop), *kernel);
  return lowering.run();
}
