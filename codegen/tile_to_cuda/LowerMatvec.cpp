//===- LowerMatvec.cpp - linear layers of few rows, bound by memory --------===//
//
// Each block owns a contiguous range of the weights, in groups of 8 rows. Its warps
// share K: each streams its own chunks through a ring of bulk copies that is full
// before the kernel waits for its predecessor, and multiplies them on tensor cores
// with up to 8 rows of activations. The activations a warp needs are copied to
// shared memory and scaled there in place. Warps' sums meet in shared memory,
// where a thread takes a row and a pair of columns through the epilogue.
//
//===----------------------------------------------------------------------===//

#include "codegen/tile_to_cuda/Elements.h"
#include "codegen/tile_to_cuda/Families.h"
#include "passes/tile/LinearConfig.h"
#include "passes/tile/MainLoop.h"

using namespace mlir;
using namespace inlay;

namespace {
constexpr int64_t kAtomBytes = 1024, kAtomColumns = 64, kGroupRows = 8, kRowBytes = 128;

class MatvecLowering {
public:
  MatvecLowering(tile::ProgramOp program, const MainLoop &loop, const MatvecConfig &config, const GridCount &rowTiles,
                 cuda::KernelOp kernel)
      : program(program), loop(loop), config(config), rowTiles(rowTiles), kernel(kernel),
        b(UnknownLoc::get(program.getContext()), program.getContext()) {}
  LogicalResult run(LoweredKernel &lowered);

private:
  LogicalResult build();
  Value pointerOf(Value view) { return kernel.getArgument(cast<BlockArgument>(view).getArgNumber()); }
  Value bytes(Value pointer) { return b.as(pointer, b.getI8Type()); }
  void setUpSizes();
  void setUpMemory();
  void issueWeights(Value entry);
  void stageVectors();
  void issueRows(Value load);
  LogicalResult transformRows(Value chunk, Value stage, Value isFirst);
  void clearTail(Value chunk, Value stage);
  LogicalResult accumulate(Value batch, Value slotInBatch);
  std::unique_ptr<Elements> elementsOf(Value unit, Value firstGroup, Value pairs);

  tile::ProgramOp program;
  MainLoop loop;
  const MatvecConfig &config;
  GridCount rowTiles;
  cuda::KernelOp kernel;
  KernelBuilder b;

  // Known when compiling.
  int64_t columns = 0, atoms = 0, chunks = 0, chunkBytes = 0, rowStride = 0, maxStages = 0;
  bool hasShortChunk = false;
  std::string element;
  // Of the block and the warp.
  Value thread, lane, warp, isLeader, zero;
  Value first, groups, count, entries, policy, rows, firstRow;
  Value ring, full, staged, stagedFull, vectors, vectorsFull, sums, partials;
  // Of the staged rows.
  Value stages, isResident, loads;
  Value entry; // variable: the next chunk in the ring
};
} // namespace

/// What the block and the warp own.
void MatvecLowering::setUpSizes() {
  auto weights = loop.weight.getView().getType();
  columns = weights.getShape()[0];
  atoms = llvm::divideCeil(weights.getShape()[1], kAtomColumns);
  chunks = llvm::divideCeil(atoms, config.chunkAtoms);
  chunkBytes = config.chunkAtoms * kAtomBytes;
  rowStride = config.stagedRowBytes();
  hasShortChunk = atoms % config.chunkAtoms != 0;
  element = weights.getElementType().isBF16() ? "bfloat16" : "float16";
  zero = b.index(0);

  thread = b.name("thread", b.special(cuda::Special::ThreadX));
  lane = b.name("lane", b.special(cuda::Special::Lane));
  warp = b.name("warp", b.special(cuda::Special::Warp));
  isLeader = b.name("is_leader", b.equal(lane, 0));
  int64_t total = llvm::divideCeil(columns, kGroupRows);
  Value block = b.special(cuda::Special::BlockX);
  b.comment("Groups of 8 weight rows that this block owns; chunks of a group that this warp owns.");
  first = b.name("first", b.div(b.mul(block, total), config.blocks));
  groups = b.name("groups", b.sub(b.div(b.mul(b.add(block, 1), total), config.blocks), first));
  count = chunks % config.warps == 0
              ? b.index(chunks / config.warps)
              : b.name("count", b.div(b.sub(b.index(chunks + config.warps - 1), warp), config.warps));
  entries =
      b.name("entries", b.mul(b.mul(b.div(b.add(groups, config.groups - 1), config.groups), config.groups), count));
  firstRow = b.name("first_row", b.mul(b.special(cuda::Special::BlockY), config.rows));
  rows = b.name("rows", b.min(b.index(config.rows), b.sub(b.size(rowTiles.extent), firstRow)));
}

void MatvecLowering::setUpMemory() {
  Type i8 = b.getI8Type(), barrier = b.getI64Type(), f32 = b.getF32Type();
  int64_t stagesOfWarp = config.stages * config.warps;
  Value rings = b.shared("rings", i8, stagesOfWarp * chunkBytes, kAtomBytes);
  Value stagedAll = b.shared("staged_all", i8, config.warps * config.stagedBytes);
  if (!loop.vectors.empty())
    vectors = b.shared("vectors", i8, loop.vectors.size() * atoms * kRowBytes);
  partials = b.shared("partials", f32, config.partialBytes);
  if (!loop.sums.empty())
    sums = b.shared("sums", f32, loop.sums.size() * config.warps * config.rows * 4);
  maxStages = std::min<int64_t>(config.stagedBytes / rowStride, llvm::divideCeil(chunks, config.warps));
  Value barriers = b.shared("barriers", barrier, config.warps * (config.stages + maxStages + 1) * 8);

  ring = b.name("ring", b.offset(rings, b.mul(warp, config.stages * chunkBytes)));
  staged = b.name("staged", b.offset(stagedAll, b.mul(warp, config.stagedBytes)));
  full = b.name("full", b.offset(barriers, b.mul(warp, config.stages + maxStages + 1)));
  stagedFull = b.name("staged_full", b.offset(full, b.index(config.stages)));
  vectorsFull = b.name("vectors_full", b.offset(full, b.index(config.stages + maxStages)));
  b.ifThen(isLeader, [&] {
    b.loop("i", config.stages, KernelBuilder::Unrolled,
           [&](Value i) { b.call("mbarrier_init", "mbarrier.h", {b.offset(full, i), b.i32(1)}); });
    b.loop("i", maxStages, KernelBuilder::Rolled,
           [&](Value i) { b.call("mbarrier_init", "mbarrier.h", {b.offset(stagedFull, i), b.i32(32)}); });
    b.call("mbarrier_init", "mbarrier.h", {vectorsFull, b.i32(1)});
    b.call("fence_mbarrier_init", "mbarrier.h", {});
  });
  b.syncWarp();
}

/// Copies chunk `entry` of this warp's stream into its place in the ring. Groups past the block's last are empty.
void MatvecLowering::issueWeights(Value number) {
  Value slot = b.rem(number, config.stages);
  Value group = b.add(b.mul(b.div(number, b.mul(count, config.groups)), config.groups), b.rem(number, config.groups));
  Value chunk = b.add(warp, b.mul(b.rem(b.div(number, config.groups), count), config.warps));
  group = b.name("group", group);
  Value atom = b.mul(chunk, config.chunkAtoms);
  Value size = b.index(chunkBytes);
  if (hasShortChunk)
    size = b.mul(b.min(b.index(config.chunkAtoms), b.sub(b.index(atoms), atom)), kAtomBytes);
  Value bar = b.name("bar", b.offset(full, slot));
  b.ifThen(
      b.less(group, groups),
      [&] {
        // A large matrix has more bytes than an int counts.
        Type i64 = b.getI64Type();
        Value row = arith::IndexCastOp::create(b, i64, b.add(first, group));
        Value wide = arith::MulIOp::create(b, row, arith::ConstantIntOp::create(b, atoms * kAtomBytes, 64));
        Value source = b.offset(b.offset(bytes(pointerOf(loop.weight.getView())), wide), b.mul(atom, kAtomBytes));
        b.call("mbarrier_arrive_expect", "mbarrier.h", {bar, size});
        b.call("bulk_copy", "bulk_copy.h", {b.offset(ring, b.mul(slot, chunkBytes)), source, size, bar, policy});
      },
      [&] { b.call("mbarrier_arrive", "mbarrier.h", bar); });
}

/// Copies this warp's part of the vectors along k.
void MatvecLowering::stageVectors() {
  int64_t size = loop.k * 2;
  // Past K they meet activations that are 0, and must be no NaN.
  if (int64_t words = (atoms * kAtomColumns - loop.k) / 2)
    b.ifThen(b.less(lane, words), [&] {
      for (size_t i = 0; i < loop.vectors.size(); ++i)
        b.store(b.i32(0), b.as(vectors, b.getI32Type()), b.add(lane, i * atoms * 32 + loop.k / 2));
    });
  b.ifThen(isLeader, [&] {
    Value total = b.local("bytes", {}, b.getI32Type(), b.i32(0));
    auto each = [&](llvm::function_ref<void(Value, Value)> body) {
      b.loop("i", zero, count, b.index(1), KernelBuilder::Rolled, [&](Value i) {
        int64_t chunkRow = config.chunkAtoms * kRowBytes;
        Value at = b.name("at", b.mul(b.add(warp, b.mul(i, config.warps)), chunkRow));
        body(at, b.name("size", b.min(b.index(chunkRow), b.sub(b.index(size), at))));
      });
    };
    each([&](Value at, Value part) {
      b.set(b.add(b.get(total), arith::IndexCastOp::create(b, b.getI32Type(), b.mul(part, loop.vectors.size()))),
            total);
    });
    b.call("mbarrier_arrive_expect", "mbarrier.h", {vectorsFull, b.get(total)});
    each([&](Value at, Value part) {
      for (auto [i, load] : llvm::enumerate(loop.vectors)) {
        tile::LoadOp vector = load;
        b.call("bulk_copy", "bulk_copy.h",
               {b.offset(vectors, b.add(at, i * atoms * kRowBytes)), b.offset(bytes(pointerOf(vector.getView())), at),
                part, vectorsFull});
      }
    });
  });
}

/// Copies the rows of activations for load `number` of this warp, a lane a row.
void MatvecLowering::issueRows(Value number) {
  auto type = cast<tile::ViewType>(loop.rowsView().getType());
  Value stage = b.name("stage", b.rem(number, stages));
  Value chunk = b.name("chunk", b.add(warp, b.mul(b.rem(number, count), config.warps)));
  Value at = b.mul(chunk, config.chunkAtoms * kAtomColumns);
  int64_t chunkRow = config.chunkAtoms * kRowBytes;
  Value size = loop.k % (config.chunkAtoms * kAtomColumns) == 0
                   ? b.index(chunkRow)
                   : b.name("size", b.min(b.index(chunkRow), b.mul(b.sub(b.index(loop.k), at), 2)));
  Value bar = b.offset(stagedFull, stage);
  b.ifThen(
      b.less(lane, rows),
      [&] {
        Value target = b.name("target", b.offset(staged, b.mul(b.add(b.mul(stage, rows), lane), rowStride)));
        auto copy = [&](Value row) {
          Value source =
              b.offset(pointerOf(loop.rowsView()), b.add(b.add(b.mul(row, type.getShape()[1]), at), loop.columnOffset));
          b.call("mbarrier_arrive_expect", "mbarrier.h", {bar, size});
          b.call("bulk_copy", "bulk_copy.h", {target, source, size, bar});
        };
        Value row = b.add(firstRow, lane);
        auto gather = dyn_cast<tile::GatherOp>(loop.rows);
        if (!gather)
          return copy(row);
        auto load = gather.getIndices().getDefiningOp<tile::LoadOp>();
        Value index = b.name("row", b.load(pointerOf(load.getView()), row));
        Value valid = type.getExtent()
                          ? arith::CmpIOp::create(b, arith::CmpIPredicate::ult, b.toIndex(index),
                                                  b.size(static_cast<int64_t>(*type.getExtent())))
                                .getResult()
                          : arith::CmpIOp::create(b, arith::CmpIPredicate::sge, index, b.i32(0)).getResult();
        b.ifThen(
            valid, [&] { copy(b.toIndex(index)); },
            [&] {
              b.loop("i", zero, b.index(chunkRow), b.index(4), KernelBuilder::Rolled,
                     [&](Value i) { b.store(b.i32(0), b.as(b.offset(target, i), b.getI32Type()), zero); });
              b.call("mbarrier_arrive", "mbarrier.h", bar);
            });
      },
      [&] { b.call("mbarrier_arrive", "mbarrier.h", bar); });
}

/// The last chunk's columns past K: the weights there are 0, and the activations must be no NaN.
void MatvecLowering::clearTail(Value chunk, Value stage) {
  int64_t chunkColumns = config.chunkAtoms * kAtomColumns, inside = loop.k % chunkColumns;
  if (inside == 0)
    return;
  b.ifThen(b.equal(chunk, chunks - 1), [&] {
    b.loop("row", zero, rows, b.index(1), KernelBuilder::Rolled, [&](Value row) {
      Value target = b.offset(staged, b.mul(b.add(b.mul(stage, rows), row), rowStride));
      b.loop("i", b.add(b.mul(lane, 4), inside * 2), b.index(chunkColumns * 2), b.index(128), KernelBuilder::Rolled,
             [&](Value i) { b.store(b.i32(0), b.as(b.offset(target, i), b.getI32Type()), zero); });
    });
    b.syncWarp();
  });
}

/// Applies what the program does to the rows before the product, in place: a lane takes a pair of columns of each atom.
LogicalResult MatvecLowering::transformRows(Value chunk, Value stage, Value isFirst) {
  LogicalResult result = success();
  Type i32 = b.getI32Type(), type = loop.weight.getView().getType().getElementType();
  b.loop("row", zero, rows, b.index(1), KernelBuilder::Rolled, [&](Value row) {
    SmallVector<Value> totals;
    for (size_t i = 0; i < loop.sums.size(); ++i)
      totals.push_back(b.local("total", {}, b.getF32Type(), b.f32(0)));
    Value target = b.name("x", b.as(b.offset(staged, b.mul(b.add(b.mul(stage, rows), row), rowStride)), i32));
    b.loop("atom", config.chunkAtoms, KernelBuilder::Unrolled, [&](Value atom) {
      Value at = b.add(b.mul(atom, 32), lane);
      Value word = b.name("word", b.load(target, at));
      SmallVector<Value> scales;
      for (size_t i = 0; i < loop.vectors.size(); ++i)
        scales.push_back(
            b.name("scale",
                   b.load(b.as(vectors, i32), b.add(b.add(b.mul(chunk, config.chunkAtoms * 32), at), i * atoms * 32))));
      auto half = [&](Value pair, Position position) {
        return b.call(type, (position == Position::Even ? "low_half<" : "high_half<") + element + ">", "base.h", pair);
      };
      Elements elements(
          b, kAtomColumns, row, lane, [&](Value view) { return pointerOf(view); },
          [&](Value value, Position position) -> Value {
            if (value == loop.rows->getResult(0))
              return half(word, position);
            for (auto [i, load] : llvm::enumerate(loop.vectors))
              if (value == tile::LoadOp(load).getResult())
                return half(scales[i], position);
            return {};
          });
      for (auto [i, sum] : llvm::enumerate(loop.sums))
        for (Position position : {Position::Even, Position::Odd}) {
          FailureOr<Value> term = elements.at(sum.element, position);
          if (failed(term))
            return void(result = failure());
          b.set(b.addF(b.get(totals[i]), *term), totals[i]);
        }
      FailureOr<Value> even = elements.at(loop.dot.getLhs(), Position::Even);
      FailureOr<Value> odd = elements.at(loop.dot.getLhs(), Position::Odd);
      if (failed(even) || failed(odd))
        return void(result = failure());
      b.store(b.call(i32, "pack_bits", "base.h", {*even, *odd}), target, at);
    });
    for (auto [i, total] : llvm::enumerate(totals)) {
      Value all = b.call(b.getF32Type(), "warp_sum", "warp.h", b.get(total));
      Value at = b.add(b.mul(b.add(warp, i * config.warps), config.rows), row);
      b.ifThen(b.both(isLeader, isFirst), [&] { b.store(b.addF(b.load(sums, at), all), sums, at); });
    }
  });
  b.syncWarp();
  return result;
}

/// One pass over this warp's chunks for a batch of groups.
LogicalResult MatvecLowering::accumulate(Value batch, Value slotInBatch) {
  LogicalResult result = success();
  Value acc = b.local("acc", {config.groups, 8}, b.getF32Type(), b.f32(0));
  // Column n of the product is row n / 2 + 4 * (n % 2) of the group, so that 8 lanes read 8 different chunks of banks.
  Value g = b.name("g", b.div(lane, 4)), t = b.name("t", b.rem(lane, 4));
  Value weightRow = b.name("weight_row", b.add(b.div(g, 2), b.mul(b.rem(g, 2), 4)));
  Value row = b.name("row", b.min(g, b.sub(rows, 1)));
  b.loop("i", zero, count, b.index(1), KernelBuilder::Rolled, [&](Value i) {
    Value chunk = b.name("chunk", b.add(warp, b.mul(i, config.warps)));
    Value number = b.name("number", b.select(isResident, i, b.add(b.mul(batch, count), i)));
    Value stage = b.name("stage", b.rem(number, stages));
    Value isFirst = b.name("is_first", b.equal(batch, 0));
    b.ifThen(b.either(b.less(stages, count), isFirst), [&] {
      b.call("mbarrier_wait", "mbarrier.h", {b.offset(stagedFull, stage), b.rem(b.div(number, stages), 2)});
      clearTail(chunk, stage);
      if (!loop.isPlain())
        result = transformRows(chunk, stage, isFirst);
    });
    Value x = b.name("x", b.offset(staged, b.mul(b.add(b.mul(stage, rows), row), rowStride)));
    b.loop("group", config.groups, KernelBuilder::Unrolled, [&](Value group) {
      Value number = b.name("n", b.get(entry));
      Value slot = b.name("slot", b.rem(number, config.stages));
      b.call("mbarrier_wait", "mbarrier.h", {b.offset(full, slot), b.rem(b.div(number, config.stages), 2)});
      Value w = b.name("w", b.offset(ring, b.add(b.mul(slot, chunkBytes), b.mul(weightRow, kRowBytes))));
      b.loop("atom", config.chunkAtoms, KernelBuilder::Unrolled, [&](Value atom) {
        auto multiply = [&] {
          b.loop("half", 2, KernelBuilder::Unrolled, [&](Value half) {
            Type words = VectorType::get({4}, b.getI32Type());
            Value at = b.name("at", b.add(b.mul(half, 4), t));
            Value left = b.load(x, b.add(b.mul(atom, kRowBytes), b.mul(at, 16)), words);
            Value right = b.load(w, b.add(b.mul(atom, kAtomBytes), b.mul(b.bitXor(at, weightRow), 16)), words);
            b.call("mma_8_rows<" + element + ">", "mma.h", {b.address(acc, group), left, right});
          });
        };
        if (hasShortChunk)
          b.ifThen(b.less(b.add(b.mul(chunk, config.chunkAtoms), atom), atoms), multiply);
        else
          multiply();
      });
      b.syncWarp();
      Value next = b.name("next", b.add(number, config.stages));
      b.ifThen(b.both(isLeader, b.less(next, entries)), [&] { issueWeights(next); });
      b.set(b.add(number, 1), entry);
    });
    Value nextLoad = b.name("next_load", b.add(number, stages));
    b.ifThen(b.less(nextLoad, loads), [&] {
      b.call("fence_async_proxy", "shared_address.h", {});
      b.syncWarp();
      issueRows(nextLoad);
    });
  });
  b.ifThen(b.less(g, rows), [&] {
    b.loop("group", config.groups, KernelBuilder::Unrolled, [&](Value group) {
      Value slot = b.add(b.mul(b.add(b.mul(slotInBatch, config.groups), group), config.warps), warp);
      Value at = b.name("at", b.add(b.mul(b.add(b.mul(slot, rows), g), kGroupRows), t));
      auto sum = [&](int64_t c) {
        return b.addF(b.get(acc, {group, b.index(c)}), b.get(acc, {group, b.index(c + 4)}));
      };
      b.store(sum(0), partials, at);
      b.store(sum(1), partials, b.add(at, 4));
    });
  });
  return result;
}

/// The elements of `unit`, a row and a pair of columns of `pairs` in all, from `firstGroup` of the block on.
std::unique_ptr<Elements> MatvecLowering::elementsOf(Value unit, Value firstGroup, Value pairs) {
  Value row = b.name("row", b.div(unit, pairs)), pair = b.name("pair", b.rem(unit, pairs));
  Value column = b.name("column", b.add(b.mul(b.add(first, firstGroup), kGroupRows), b.mul(pair, 2)));
  Value tokenRow = b.name("token_row", b.add(firstRow, row));
  Value inTile = b.name("pair_in_tile", b.div(b.rem(column, loop.columns), 2));
  auto source = [this, row, pair, column, tokenRow](Value value, Position position) -> Value {
    if (auto id = value.getDefiningOp<tile::ProgramIdOp>())
      return id.getDimension() == 0 ? b.div(column, loop.columns) : b.div(tokenRow, loop.tokens);
    if (value == loop.product) {
      Value at = b.mul(pair, 2);
      if (position == Position::Odd)
        at = b.add(at, 1);
      Value group = b.mul(b.div(at, kGroupRows), config.warps), inGroup = b.rem(at, kGroupRows);
      Value total = b.local(position == Position::Odd ? "odd" : "even", {}, b.getF32Type(), b.f32(0));
      b.loop("i", config.warps, KernelBuilder::Unrolled, [&](Value i) {
        Value place = b.add(b.mul(b.add(b.mul(b.add(group, i), rows), row), kGroupRows), inGroup);
        b.set(b.addF(b.get(total), b.load(partials, place)), total);
      });
      return b.get(total);
    }
    for (auto [k, sum] : llvm::enumerate(loop.sums))
      if (value == sum.result) {
        Value total = b.local("sum", {}, b.getF32Type(), b.f32(0));
        b.loop("i", config.warps, KernelBuilder::Unrolled, [&, k = k](Value i) {
          Value place = b.add(b.mul(b.add(i, k * config.warps), config.rows), row);
          b.set(b.addF(b.get(total), b.load(sums, place)), total);
        });
        return b.get(total);
      }
    return {};
  };
  return std::make_unique<Elements>(
      b, loop.columns, b.rem(tokenRow, loop.tokens), inTile, [this](Value view) { return pointerOf(view); }, source);
}

LogicalResult MatvecLowering::build() {
  b.setInsertionPointToStart(&kernel.getBody().front());
  cuda::LaunchDependentsOp::create(b);
  setUpSizes();
  setUpMemory();
  policy = b.name("policy", b.call(b.getI64Type(), "evict_first_policy", "bulk_copy.h", {}));
  b.comment("What nobody on the device writes comes before the wait.");
  b.ifThen(isLeader, [&] {
    b.loop("i", zero, b.min(b.index(config.stages), entries), b.index(1), KernelBuilder::Rolled,
           [&](Value i) { issueWeights(i); });
  });
  if (!loop.vectors.empty())
    stageVectors();
  if (sums) {
    int64_t size = loop.sums.size() * config.rows;
    b.ifThen(b.less(lane, config.rows), [&] {
      for (int64_t i = 0; i < size / config.rows; ++i)
        b.store(b.f32(0), sums, b.add(b.mul(b.add(warp, i * config.warps), config.rows), lane));
    });
  }
  b.syncWarp();
  cuda::DependOp::create(b);

  b.comment("Activations stay where they are if all of the warp's chunks fit, else they flow through stages too.");
  stages = b.name("stages", b.min(b.index(maxStages), b.div(b.index(config.stagedBytes), b.mul(rows, rowStride))));
  isResident = b.name("is_resident", arith::CmpIOp::create(b, arith::CmpIPredicate::sge, stages, count));
  Value batches = b.name("batches", b.div(b.add(groups, config.groups - 1), config.groups));
  loads = b.name("loads", b.select(isResident, count, b.mul(batches, count)));
  b.loop("i", zero, b.min(stages, loads), b.index(1), KernelBuilder::Rolled, [&](Value i) { issueRows(i); });

  // Where a thread has one element pair, what its epilogue reads is read before the products.
  int64_t total = llvm::divideCeil(columns, kGroupRows);
  int64_t groupsOfBlock = llvm::divideCeil(total, config.blocks);
  int64_t batchBytes = config.groups * config.warps * kGroupRows * 4;
  int64_t batchesOfBlock = llvm::divideCeil(groupsOfBlock, config.groups);
  bool isSingle = groupsOfBlock * 4 * config.rows <= config.warps * 32 &&
                  batchesOfBlock * batchBytes * config.rows <= config.partialBytes;
  std::unique_ptr<Elements> elements;
  Value pairs, isOwner;
  if (isSingle) {
    pairs = b.name("pairs", b.mul(groups, 4));
    Value units = b.mul(pairs, rows);
    isOwner = b.name("is_owner", b.less(thread, units));
    elements = elementsOf(b.name("unit", b.select(isOwner, thread, zero)), zero, pairs);
    llvm::DenseSet<Value> late{loop.product};
    for (const RowSum &sum : loop.sums)
      late.insert(sum.result);
    // An operation is ready when nothing that leads to it comes out of the loop.
    llvm::DenseMap<Value, bool> known;
    std::function<bool(Value)> isReady = [&](Value value) {
      if (late.contains(value))
        return false;
      Operation *op = value.getDefiningOp();
      if (!op)
        return isa<tile::ViewType>(value.getType());
      auto [it, inserted] = known.try_emplace(value, true);
      if (!inserted)
        return it->second;
      bool ready = op->getNumRegions() == 0 && llvm::all_of(op->getOperands(), isReady);
      return known[value] = ready;
    };
    auto isLoadReady = [&](Operation *op) {
      return !loop.loop->isAncestor(op) && isReady(op->getResult(0)) &&
             !llvm::all_of(op->getResult(0).getUsers(), [&](Operation *user) { return loop.loop->isAncestor(user); });
    };
    if (failed(elements->prefetch(program.getBody().front(), isLoadReady)))
      return failure();
  }

  if (!loop.vectors.empty())
    b.call("mbarrier_wait", "mbarrier.h", {vectorsFull, b.i32(0)});
  entry = b.local("entry", {}, b.getIndexType(), zero);
  LogicalResult result = success();
  if (isSingle) {
    b.loop("batch", zero, batches, b.index(1), KernelBuilder::Rolled,
           [&](Value batch) { result = accumulate(batch, batch); });
    b.barrier();
    b.ifThen(isOwner, [&] {
      if (succeeded(result))
        result = elements->emit(program.getBody().front(), loop.loop);
    });
    return result;
  }
  b.comment("As many batches as there is room for their sums, then their epilogue.");
  Value room = b.name("room", b.div(b.index(config.partialBytes), b.mul(rows, batchBytes)));
  b.loop("from", zero, batches, room, KernelBuilder::Rolled, [&](Value from) {
    Value to = b.name("to", b.min(batches, b.add(from, room)));
    b.loop("batch", from, to, b.index(1), KernelBuilder::Rolled,
           [&](Value batch) { result = accumulate(batch, b.sub(batch, from)); });
    b.barrier();
    Value firstGroup = b.mul(from, config.groups);
    Value pairs = b.name("pairs", b.mul(b.sub(b.min(groups, b.mul(to, config.groups)), firstGroup), 4));
    b.loop("unit", thread, b.name("units", b.mul(pairs, rows)), b.index(config.warps * 32), KernelBuilder::Rolled,
           [&](Value unit) {
             std::unique_ptr<Elements> elements = elementsOf(unit, firstGroup, pairs);
             if (succeeded(result))
               result = elements->emit(program.getBody().front(), loop.loop);
           });
    b.barrier();
  });
  return result;
}

LogicalResult MatvecLowering::run(LoweredKernel &lowered) {
  if (failed(build()))
    return failure();
  if (b.sharedBytes > config.sharedBytes)
    return program.emitError("needs ") << b.sharedBytes << " bytes of shared memory, its config has "
                                       << config.sharedBytes;
  kernel.setSharedBytes(config.sharedBytes);
  kernel.setMinBlocks(2);
  GridCount blocks;
  blocks.multiplier = config.blocks;
  GridCount passes = rowTiles;
  passes.divisor = config.rows;
  lowered.grid = {blocks, passes};
  return success();
}

LogicalResult inlay::lowerMatvec(tile::ProgramOp program, OpBuilder &builder, const CudaOptions &options,
                                 LoweredKernel &lowered) {
  FailureOr<MainLoop> loop = findMainLoop(program);
  if (failed(loop))
    return failure();
  auto weights = cast<BlockArgument>(loop->weight.getView());
  auto packing = program.getArgAttrOfType<StringAttr>(weights.getArgNumber(), "tile.packing");
  if (!packing || packing.getValue() != "atom_8x64")
    return loop->weight.emitError("reads weights that are not packed; the family matvec needs tile.packing = "
                                  "\"atom_8x64\"");
  if (loop->k % 8 != 0)
    return loop->loop.emitError("runs over ")
           << loop->k << " columns; rows are copied in 16 bytes, so expected a multiple of 8";
  if (auto gather = dyn_cast<tile::GatherOp>(loop->rows); gather && !gather.getIndices().getDefiningOp<tile::LoadOp>())
    return gather.emitError("gathers rows by computed indices; the family matvec takes loaded ones");
  FailureOr<DictionaryAttr> attribute = selectConfig(program, kHopper);
  if (failed(attribute))
    return failure();
  MatvecConfig config = MatvecConfig::from(*attribute);
  if (config.stagedBytes < config.leastStagedBytes())
    return program.emitError("leaves ") << config.stagedBytes << " bytes a warp for staged activations, one chunk of "
                                        << config.rows << " rows needs " << config.leastStagedBytes();
  if (failed(gridOf(program, lowered.grid)))
    return failure();
  GridCount rowTiles = lowered.grid.size() > 1 ? lowered.grid[1] : GridCount();
  lowered.kernel = createKernel(program, builder, config.warps * 32);
  MatvecLowering lowering(program, *loop, config, rowTiles, lowered.kernel);
  return lowering.run(lowered);
}
