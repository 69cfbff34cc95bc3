//===- LowerMatvec.cpp - linear layers of few rows, bound by memory --------===//
//
// Each block owns a contiguous range of the weights, in groups of 8 rows. Its warps
// share K: each streams its own chunks through a ring of bulk copies that is full
// before the kernel waits for its predecessor, and multiplies them on tensor cores
// with the rows of activations. One row is scaled by all lanes together and kept in
// shared memory; more, up to 16, come from memory in the order of the product's fragments
// and are scaled in registers, since they would not fit. Warps' sums meet in shared
// memory, where a thread takes a row and a pair of columns through the epilogue.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/Elements.h"
#include "passes/tile_to_cuda/LinearOperands.h"

using namespace mlir;
using namespace inlay;
using tile::kAtomBytes, tile::kAtomColumns, tile::kGroupRows;

namespace {
constexpr int64_t kRowBytes = 128; // of an atom

class MatvecLowering {
public:
  MatvecLowering(tile::ProgramOp program, const MainLoop &loop, tile::MatvecAttr schedule, const LayerRows &layerRows,
                 cuda::KernelOp kernel)
      : program(program), loop(loop), schedule(schedule), layerRows(layerRows), kernel(kernel),
        b(UnknownLoc::get(program.getContext()), program.getContext()) {}
  LogicalResult run();

private:
  LogicalResult build();
  Value pointerOf(Value view) { return kernel.getArgument(cast<BlockArgument>(view).getArgNumber()); }
  Value bytes(Value pointer) { return b.as(pointer, b.getI8Type()); }
  bool isOneRow() const { return schedule.getRows() == 1; }
  /// Of one vector along k in shared memory.
  int64_t vectorBytes() const { return chunks * schedule.getChunkAtoms() * kRowBytes; }
  /// Of 8 rows each, in registers.
  int64_t halves() const { return schedule.getRows() > 8 ? 2 : 1; }
  void setUpSizes();
  void setUpMemory();
  void issueWeights(Value batch, Value chunk, Value group, Value slot);
  void loadVectors();
  Value rowOf(Value row, Value &valid);
  FailureOr<Value> transform(Value row, Value word, llvm::function_ref<Value(size_t)> scale,
                             llvm::function_ref<void(size_t, Value)> addToSum);
  void eachChunk(llvm::function_ref<void(Value, Value)> body);
  LogicalResult stageRow();
  void eachPiece(Value chunk, int64_t half, Value t, llvm::function_ref<void(Value, Value)> body);
  void loadFragments(Value chunk, Value slot, Value t);
  LogicalResult transformFragments(Value chunk, Value slot, Value isFirst, Value t);
  LogicalResult accumulate(Value batch);
  void storeSums(Value batchInRoom);
  void storeRowSums();
  std::unique_ptr<Elements> elementsOf(Value unit, Value firstGroup, Value pairs);
  FailureOr<std::unique_ptr<Elements>> prefetchEpilogue(Value &isOwner);

  tile::ProgramOp program;
  MainLoop loop;
  tile::MatvecAttr schedule;
  LayerRows layerRows;
  cuda::KernelOp kernel;
  KernelBuilder b;

  // Known when compiling.
  int64_t columns = 0, atoms = 0, chunks = 0, chunkBytes = 0, most = 0, depth = 1, groupsOfBlock = 0,
          batchesOfBlock = 0;
  bool isEvenK = false; // no chunk is short, all warps have as many
  std::string element;
  Type words; // 16 bytes
  // Of the block and the warp.
  Value thread, lane, warp, isLeader, zero;
  Value first, groups, count, batches, policy, rows, firstRow, source;
  Value ring, full, staged, partials, sums;
  // Variables of the thread.
  Value vectors;   // along k: this lane's part; for several rows in shared memory
  Value fragments; // of rows g and g + 8: `depth` chunks
  Value rowIndices, rowValid;
  Value totals;     // this lane's part of the rows' sums
  Value acc, entry; // the batch's sums; the number of the next chunk in the ring
};
} // namespace

/// What the block and the warp own.
void MatvecLowering::setUpSizes() {
  auto weights = loop.weight.getView().getType();
  columns = weights.getShape()[0];
  atoms = llvm::divideCeil(weights.getShape()[1], kAtomColumns);
  chunks = llvm::divideCeil(atoms, schedule.getChunkAtoms());
  chunkBytes = schedule.getChunkAtoms() * kAtomBytes;
  most = llvm::divideCeil(chunks, schedule.getWarps());
  // Registers have fixed names: several chunks of rows in flight need a loop that is unrolled.
  if (!isOneRow() && chunks % schedule.getWarps() == 0 && most <= 16)
    depth = std::min(schedule.getDepth(), most);
  isEvenK = loop.k % (schedule.getWarps() * schedule.getChunkAtoms() * kAtomColumns) == 0;
  element = weights.getElementType().isBF16() ? "bfloat16" : "float16";
  words = VectorType::get({4}, b.getI32Type());
  zero = b.index(0);

  thread = b.name("thread", b.special(cuda::Special::ThreadX));
  lane = b.name("lane", b.special(cuda::Special::Lane));
  warp = b.name("warp", b.special(cuda::Special::Warp));
  isLeader = b.name("is_leader", b.equal(lane, 0));
  int64_t total = llvm::divideCeil(columns, kGroupRows);
  groupsOfBlock = llvm::divideCeil(total, schedule.getBlocks());
  batchesOfBlock = llvm::divideCeil(groupsOfBlock, schedule.getGroups());
  Value block = b.special(cuda::Special::BlockX);
  b.comment("Groups of 8 weight rows that this block owns; chunks of a group that this warp owns.");
  first = b.name("first", b.div(b.mul(block, total), schedule.getBlocks()));
  groups = b.name("groups", b.sub(b.div(b.mul(b.add(block, 1), total), schedule.getBlocks()), first));
  count = chunks % schedule.getWarps() == 0
              ? b.index(most)
              : b.name("count", b.div(b.sub(b.index(chunks + schedule.getWarps() - 1), warp), schedule.getWarps()));
  batches = batchesOfBlock == 1
                ? b.index(1)
                : b.name("batches", b.div(b.add(groups, schedule.getGroups() - 1), schedule.getGroups()));
  firstRow = b.name("first_row", b.mul(b.special(cuda::Special::BlockY), schedule.getRows()));
  rows =
      isOneRow() ? b.index(1) : b.name("rows", b.min(b.index(schedule.getRows()), b.sub(layerRows.count(b), firstRow)));
}

void MatvecLowering::setUpMemory() {
  Type i8 = b.getI8Type(), barrier = b.getI64Type(), f32 = b.getF32Type();
  // One batch leaves its sums where its weights were.
  std::optional<int64_t> ofRings, ofSums;
  if (batchesOfBlock == 1) {
    ofRings = 0;
    ofSums = 1;
  }
  Value rings = b.shared("rings", i8, schedule.getStages() * schedule.getWarps() * chunkBytes, kAtomBytes, ofRings);
  if (isOneRow())
    staged = b.shared("staged_all", i8, schedule.getWarps() * most * schedule.getChunkAtoms() * kRowBytes);
  if (!isOneRow() && !loop.vectors.empty())
    vectors = b.shared("vectors", i8, static_cast<int64_t>(loop.vectors.size()) * vectorBytes());
  int64_t batchBytes = schedule.getGroups() * schedule.getWarps() * schedule.getRows() * kGroupRows * 4;
  partials = b.shared("partials", f32, batchesOfBlock == 1 ? batchBytes : schedule.getPartialBytes(), 128, ofSums);
  if (!loop.sums.empty())
    sums = b.shared("sums", f32, loop.sums.size() * schedule.getWarps() * schedule.getRows() * 4);
  Value barriers = b.shared("barriers", barrier, schedule.getWarps() * schedule.getStages() * 8);

  ring = b.name("ring", b.offset(rings, b.mul(warp, schedule.getStages() * chunkBytes)));
  if (isOneRow())
    staged = b.name("staged", b.offset(staged, b.mul(warp, most * schedule.getChunkAtoms() * kRowBytes)));
  full = b.name("full", b.offset(barriers, b.mul(warp, schedule.getStages())));
  // A large matrix has more bytes than an int counts, a block's part has not.
  Type i64 = b.getI64Type();
  Value begin = arith::MulIOp::create(b, arith::IndexCastOp::create(b, i64, first),
                                      arith::ConstantIntOp::create(b, atoms * kAtomBytes, 64));
  source = b.name("source", b.offset(bytes(pointerOf(loop.weight.getView())), begin));
  b.ifThen(isLeader, [&] {
    b.loop("i", schedule.getStages(), KernelBuilder::Unrolled,
           [&](Value i) { b.call("mbarrier_init", "mbarrier.h", {b.offset(full, i), b.i32(1)}); });
    b.call("fence_mbarrier_init", "mbarrier.h", {});
  });
  b.syncWarp();
}

/// Copies this warp's chunk number `chunk` of a group into its place in the ring. Groups past the block's last are
/// empty.
void MatvecLowering::issueWeights(Value batch, Value chunk, Value group, Value slot) {
  group = b.name("group", b.add(b.mul(batch, schedule.getGroups()), group));
  Value atom = b.mul(b.add(warp, b.mul(chunk, schedule.getWarps())), schedule.getChunkAtoms());
  Value size = b.index(chunkBytes);
  if (atoms % schedule.getChunkAtoms() != 0)
    size = b.mul(b.min(b.index(schedule.getChunkAtoms()), b.sub(b.index(atoms), atom)), kAtomBytes);
  Value bar = b.name("bar", b.offset(full, slot));
  b.ifThen(
      b.less(group, groups),
      [&] {
        Value at = b.mul(b.add(b.mul(group, atoms), atom), kAtomBytes);
        b.call("mbarrier_arrive_expect", "mbarrier.h", {bar, size});
        b.call("bulk_copy", "bulk_copy.h",
               {b.offset(ring, b.mul(slot, chunkBytes)), b.offset(source, at), size, bar, policy});
      },
      [&] { b.call("mbarrier_arrive", "mbarrier.h", bar); });
}

/// The row of the view that `row` of the step reads, and whether there is one.
Value MatvecLowering::rowOf(Value row, Value &valid) {
  auto gather = dyn_cast<tile::GatherOp>(loop.rows);
  if (!gather)
    return row;
  auto type = cast<tile::ViewType>(loop.rowsView().getType());
  auto load = gather.getIndices().getDefiningOp<tile::LoadOp>();
  Value index = b.name("row", b.toIndex(b.load(pointerOf(load.getView()), row)));
  Value inside = type.getExtent() ? arith::CmpIOp::create(b, arith::CmpIPredicate::ult, index,
                                                          b.size(static_cast<int64_t>(*type.getExtent())))
                                        .getResult()
                                  : arith::CmpIOp::create(b, arith::CmpIPredicate::sge, index, zero).getResult();
  valid = valid ? b.both(valid, inside) : inside;
  return index;
}

/// What the program does to a pair of columns before the product. `scale` gives the pair of a vector along k,
/// `addToSum` takes each term of a sum along k.
FailureOr<Value> MatvecLowering::transform(Value row, Value word, llvm::function_ref<Value(size_t)> scale,
                                           llvm::function_ref<void(size_t, Value)> addToSum) {
  auto half = [&](Value pair, Position position) {
    return b.call(loop.weight.getView().getType().getElementType(),
                  (position == Position::Even ? "low_half<" : "high_half<") + element + ">", "base.h", pair);
  };
  SmallVector<Value> scales;
  for (size_t i = 0; i < loop.vectors.size(); ++i)
    scales.push_back(b.name("scale", scale(i)));
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
        return failure();
      addToSum(i, *term);
    }
  FailureOr<Value> even = elements.at(loop.dot.getLhs(), Position::Even);
  FailureOr<Value> odd = elements.at(loop.dot.getLhs(), Position::Odd);
  if (failed(even) || failed(odd))
    return failure();
  return b.call(b.getI32Type(), "pack_bits", "base.h", {*even, *odd});
}

/// Calls `body` for the chunks of the one row, with this lane's 8 columns of each.
void MatvecLowering::eachChunk(llvm::function_ref<void(Value, Value)> body) {
  b.loop("i", most, KernelBuilder::Unrolled, [&](Value i) {
    Value chunk = b.add(warp, b.mul(i, schedule.getWarps()));
    Value at = b.name("at", b.add(b.mul(chunk, schedule.getChunkAtoms() * kAtomColumns), b.mul(lane, 8)));
    Value inside;
    if (!isEvenK)
      inside = b.less(at, loop.k);
    if (schedule.getChunkAtoms() < 4)
      inside = inside ? b.both(inside, b.less(lane, schedule.getChunkAtoms() * 8))
                      : b.less(lane, schedule.getChunkAtoms() * 8);
    if (inside)
      b.ifThen(inside, [&] { body(i, at); });
    else
      body(i, at);
  });
}

/// Brings this warp's part of the vectors along k close: into registers for one row, else into shared memory.
void MatvecLowering::loadVectors() {
  if (loop.vectors.empty())
    return;
  auto number = static_cast<int64_t>(loop.vectors.size());
  if (isOneRow())
    vectors = b.local("vectors", {number, most, 4}, b.getI32Type(), b.i32(0));
  eachChunk([&](Value i, Value at) {
    for (auto [n, load] : llvm::enumerate(loop.vectors)) {
      tile::LoadOp vector = load;
      auto index = static_cast<int64_t>(n);
      Value loaded = b.load(bytes(pointerOf(vector.getView())), b.mul(at, 2), words, cuda::Cache::ReadOnly);
      if (isOneRow())
        b.call("set_words", "base.h", {b.address(vectors, {b.index(index), i}), loaded});
      else
        b.store(loaded, vectors, b.add(b.mul(at, 2), index * vectorBytes()));
    }
  });
}

/// Brings the one row into shared memory, this warp's chunks of it, as the product takes it.
LogicalResult MatvecLowering::stageRow() {
  LogicalResult result = success();
  auto type = cast<tile::ViewType>(loop.rowsView().getType());
  Value valid, row = rowOf(firstRow, valid);
  Value x = b.local("x", {most, 4}, b.getI32Type(), b.i32(0));
  Value begin = b.name("begin", b.add(b.mul(row, type.getShape()[1]), loop.columnOffset));
  eachChunk([&](Value i, Value at) {
    auto load = [&] {
      Value loaded = b.load(bytes(pointerOf(loop.rowsView())), b.mul(b.add(begin, at), 2), words, cuda::Cache::L2Only);
      b.call("set_words", "base.h", {b.address(x, i), loaded});
    };
    if (valid)
      b.ifThen(valid, load);
    else
      load();
  });
  if (!loop.sums.empty())
    totals = b.local("totals", {static_cast<int64_t>(loop.sums.size())}, b.getF32Type(), b.f32(0));
  b.loop("i", most, KernelBuilder::Unrolled, [&](Value i) {
    if (!loop.isPlain())
      b.loop("j", 4, KernelBuilder::Unrolled, [&](Value j) {
        FailureOr<Value> word = transform(
            zero, b.name("word", b.get(x, {i, j})),
            [&](size_t n) { return b.get(vectors, {b.index(static_cast<int64_t>(n)), i, j}); },
            [&](size_t n, Value term) {
              Value at = b.index(static_cast<int64_t>(n));
              b.set(b.addF(b.get(totals, at), term), totals, at);
            });
        if (failed(word))
          return void(result = failure());
        b.set(*word, x, {i, j});
      });
    auto store = [&] {
      Value target = b.offset(staged, b.add(b.mul(i, schedule.getChunkAtoms() * kRowBytes), b.mul(lane, 16)));
      b.call("store_words", "base.h", {target, b.address(x, i)});
    };
    if (schedule.getChunkAtoms() < 4)
      b.ifThen(b.less(lane, schedule.getChunkAtoms() * 8), store);
    else
      store();
  });
  b.syncWarp();
  return result;
}

/// Calls `body` for each 32 columns of a chunk with the first of this lane's 8.
void MatvecLowering::eachPiece(Value chunk, int64_t half, Value t, llvm::function_ref<void(Value, Value)> body) {
  auto all = [&] {
    b.loop("piece", schedule.getChunkAtoms() * 2, KernelBuilder::Unrolled, [&](Value piece) {
      Value at = b.add(b.mul(chunk, schedule.getChunkAtoms() * kAtomColumns), b.add(b.mul(piece, 32), b.mul(t, 8)));
      at = b.name("at", at);
      if (loop.k % (schedule.getChunkAtoms() * kAtomColumns) == 0)
        body(piece, at);
      else
        b.ifThen(b.less(at, loop.k), [&] { body(piece, at); });
    });
  };
  // The second half of the rows is often empty.
  if (half == 0)
    all();
  else
    b.ifThen(b.less(b.index(8), rows), all);
}

/// Brings a chunk of all rows into registers: 8 columns of rows g and g + 8 for each 32 of the chunk.
void MatvecLowering::loadFragments(Value chunk, Value slot, Value t) {
  auto type = cast<tile::ViewType>(loop.rowsView().getType());
  for (int64_t half = 0; half < halves(); ++half)
    b.ifThen(b.get(rowValid, b.index(half)), [&] {
      eachPiece(chunk, half, t, [&](Value piece, Value at) {
        Value begin = b.add(b.mul(b.get(rowIndices, b.index(half)), type.getShape()[1]), loop.columnOffset);
        Value loaded =
            b.load(bytes(pointerOf(loop.rowsView())), b.mul(b.add(begin, at), 2), words, cuda::Cache::L2Only);
        b.call("set_words", "base.h", {b.address(fragments, {slot, b.index(half), piece}), loaded});
      });
    });
}

/// Applies what the program does to the rows before the product to a chunk in registers.
LogicalResult MatvecLowering::transformFragments(Value chunk, Value slot, Value isFirst, Value t) {
  LogicalResult result = success();
  if (loop.isPlain())
    return result;
  for (int64_t half = 0; half < halves(); ++half)
    eachPiece(chunk, half, t, [&](Value piece, Value at) {
      SmallVector<Value> scales;
      for (size_t n = 0; n < loop.vectors.size(); ++n) {
        Value scale = b.local("scale", {4}, b.getI32Type());
        Value loaded = b.load(vectors, b.add(b.mul(at, 2), static_cast<int64_t>(n) * vectorBytes()), words);
        b.call("set_words", "base.h", {b.address(scale, zero), loaded});
        scales.push_back(scale);
      }
      b.loop("j", 4, KernelBuilder::Unrolled, [&](Value j) {
        SmallVector<Value> place{slot, b.index(half), piece, j};
        FailureOr<Value> word = transform(
            b.index(half * 8), b.name("word", b.get(fragments, place)), [&](size_t n) { return b.get(scales[n], j); },
            [&](size_t n, Value term) {
              SmallVector<Value> sum{b.index(static_cast<int64_t>(n)), b.index(half)};
              Value counted = isFirst ? b.select(isFirst, term, b.f32(0)) : term;
              b.set(b.addF(b.get(totals, sum), counted), totals, sum);
            });
        if (failed(word))
          return void(result = failure());
        b.set(*word, fragments, place);
      });
    });
  return result;
}

/// One pass over this warp's chunks for a batch of groups.
LogicalResult MatvecLowering::accumulate(Value batch) {
  LogicalResult result = success();
  acc = b.local("acc", {schedule.getGroups(), 4 * schedule.getChains()}, b.getF32Type(), b.f32(0));
  // Column n of the product is row n / 2 + 4 * (n % 2) of the group, so that 8 lanes read 8 different chunks of banks.
  Value g = b.name("g", b.div(lane, 4)), t = b.name("t", b.rem(lane, 4));
  Value weightRow = b.name("weight_row", b.add(b.div(g, 2), b.mul(b.rem(g, 2), 4)));
  auto chunkOf = [&](Value i) { return b.name("chunk", b.add(warp, b.mul(i, schedule.getWarps()))); };
  b.loop("i", zero, count, b.index(1), depth > 1 ? KernelBuilder::Unrolled : KernelBuilder::Rolled, [&](Value i) {
    Value chunk = chunkOf(i);
    int64_t pieces = schedule.getChunkAtoms() * 2;
    Value row, place = b.rem(i, depth);
    if (isOneRow()) {
      row = b.local("row", {pieces, 4}, b.getI32Type());
      b.loop("piece", pieces, KernelBuilder::Unrolled, [&](Value piece) {
        Value at = b.add(b.mul(i, schedule.getChunkAtoms() * kRowBytes), b.add(b.mul(piece, 64), b.mul(t, 16)));
        b.call("set_words", "base.h", {b.address(row, piece), b.load(staged, at, words)});
      });
    } else {
      Value isFirst = batchesOfBlock == 1 ? Value() : b.name("is_first", b.equal(batch, 0));
      if (depth == 1)
        loadFragments(chunk, zero, t);
      result = transformFragments(chunk, place, isFirst, t);
    }
    b.loop("group", schedule.getGroups(), KernelBuilder::Unrolled, [&](Value group) {
      Value number = b.name("number", b.get(entry));
      Value slot = b.name("slot", b.rem(number, schedule.getStages()));
      b.call("mbarrier_wait", "mbarrier.h", {b.offset(full, slot), b.rem(b.div(number, schedule.getStages()), 2)});
      Value w = b.name("w", b.offset(ring, b.add(b.mul(slot, chunkBytes), b.mul(weightRow, kRowBytes))));
      b.loop("piece", pieces, KernelBuilder::Unrolled, [&](Value piece) {
        auto multiply = [&] {
          Value at = b.bitXor(b.add(b.mul(b.rem(piece, 2), 4), t), weightRow);
          Value sum = b.address(acc, {group, b.mul(b.rem(piece, schedule.getChains()), 4)});
          Value right = b.load(w, b.add(b.mul(b.div(piece, 2), kAtomBytes), b.mul(at, 16)), words);
          if (isOneRow())
            b.call("mma_8_rows<" + element + ">", "mma.h", {sum, b.address(row, piece), right});
          else if (halves() == 1)
            b.call("mma_8_rows<" + element + ">", "mma.h", {sum, b.address(fragments, {place, zero, piece}), right});
          else
            b.call("mma_16_rows<" + element + ">", "mma.h",
                   {sum, b.address(fragments, {place, zero, piece}), b.address(fragments, {place, b.index(1), piece}),
                    right});
        };
        if (atoms % schedule.getChunkAtoms() == 0)
          multiply();
        else
          b.ifThen(b.less(b.add(b.mul(chunk, schedule.getChunkAtoms()), b.div(piece, 2)), atoms), multiply);
      });
      b.syncWarp();
      // What takes this place in the ring is `stages` further in the order batch, chunk, group.
      Value ahead = b.add(group, schedule.getStages());
      Value next = b.name("next", b.add(i, b.div(ahead, schedule.getGroups())));
      Value nextBatch = b.name("next_batch", b.add(batch, b.div(next, count)));
      b.ifThen(b.both(isLeader, b.less(nextBatch, batches)),
               [&] { issueWeights(nextBatch, b.rem(next, count), b.rem(ahead, schedule.getGroups()), slot); });
      b.set(b.add(number, 1), entry);
    });
    if (depth == 1)
      return;
    Value next = b.name("next", b.add(i, depth));
    Value isWanted = b.either(b.less(next, most), b.less(b.add(batch, 1), batches));
    b.ifThen(isWanted, [&] { loadFragments(chunkOf(b.rem(next, most)), place, t); });
  });
  return result;
}

/// Shows the block this warp's sums of a batch.
void MatvecLowering::storeSums(Value batchInRoom) {
  Value g = b.div(lane, 4), t = b.rem(lane, 4);
  for (int64_t half = 0; half < halves(); ++half) {
    Value row = b.name("row", b.add(g, half * 8));
    b.ifThen(b.less(row, rows), [&] {
      b.loop("group", schedule.getGroups(), KernelBuilder::Unrolled, [&](Value group) {
        Value slot = b.add(b.mul(b.add(b.mul(batchInRoom, schedule.getGroups()), group), schedule.getWarps()), warp);
        Value at =
            b.name("at", b.add(b.mul(b.add(b.mul(slot, schedule.getRows()), isOneRow() ? zero : row), kGroupRows), t));
        for (int64_t c : {0, 1}) {
          Value sum = b.get(acc, {group, b.index(half * 2 + c)});
          for (int64_t chain = 1; chain < schedule.getChains(); ++chain)
            sum = b.addF(sum, b.get(acc, {group, b.index(chain * 4 + half * 2 + c)}));
          b.store(sum, partials, b.add(at, c * 4));
        }
      });
    });
  }
}

/// Shows the block this warp's part of the rows' sums.
void MatvecLowering::storeRowSums() {
  for (size_t n = 0; n < loop.sums.size(); ++n) {
    Value number = b.index(static_cast<int64_t>(n));
    Value slot = b.mul(b.add(b.mul(number, schedule.getWarps()), warp), schedule.getRows());
    if (isOneRow()) {
      Value all = b.name("all", b.call(b.getF32Type(), "warp_sum", "warp.h", b.get(totals, number)));
      b.ifThen(isLeader, [&] { b.store(all, sums, slot); });
      continue;
    }
    for (int64_t half = 0; half < halves(); ++half) {
      Value all = b.get(totals, {number, b.index(half)});
      for (int64_t mask : {1, 2})
        all = b.addF(all, b.call(b.getF32Type(), "shuffle_xor", "warp.h", {all, b.i32(mask)}));
      b.ifThen(b.equal(b.rem(lane, 4), 0), [&] { b.store(all, sums, b.add(slot, b.add(b.div(lane, 4), half * 8))); });
    }
  }
}

/// The elements of `unit`, a row and a pair of columns of `pairs` in all, from `firstGroup` of the block on.
std::unique_ptr<Elements> MatvecLowering::elementsOf(Value unit, Value firstGroup, Value pairs) {
  Value row = isOneRow() ? zero : b.name("row", b.div(unit, pairs));
  Value pair = isOneRow() ? unit : b.name("pair", b.rem(unit, pairs));
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
      Value group = b.mul(b.div(at, kGroupRows), schedule.getWarps()), inGroup = b.rem(at, kGroupRows);
      Value total = b.local(position == Position::Odd ? "odd" : "even", {}, b.getF32Type(), b.f32(0));
      b.loop("i", schedule.getWarps(), KernelBuilder::Unrolled, [&](Value i) {
        Value place = b.add(b.mul(b.add(b.mul(b.add(group, i), schedule.getRows()), row), kGroupRows), inGroup);
        b.set(b.addF(b.get(total), b.load(partials, place)), total);
      });
      return b.get(total);
    }
    for (auto [k, sum] : llvm::enumerate(loop.sums))
      if (value == sum.result) {
        Value total = b.local("sum", {}, b.getF32Type(), b.f32(0));
        b.loop("i", schedule.getWarps(), KernelBuilder::Unrolled, [&, k = k](Value i) {
          Value place = b.add(b.mul(b.add(i, k * schedule.getWarps()), schedule.getRows()), row);
          b.set(b.addF(b.get(total), b.load(sums, place)), total);
        });
        return b.get(total);
      }
    return {};
  };
  return std::make_unique<Elements>(
      b, loop.columns, b.rem(tokenRow, loop.tokens), inTile, [this](Value view) { return pointerOf(view); }, source);
}

/// Where a thread has one element pair, what its epilogue reads is read before the products.
FailureOr<std::unique_ptr<Elements>> MatvecLowering::prefetchEpilogue(Value &isOwner) {
  Value pairs = b.name("pairs", b.mul(groups, 4));
  isOwner = b.name("is_owner", b.less(thread, b.mul(pairs, rows)));
  std::unique_ptr<Elements> elements = elementsOf(b.name("unit", b.select(isOwner, thread, zero)), zero, pairs);
  if (failed(elements->prefetch(program.getBody().front(), loop.loop)))
    return failure();
  return elements;
}

LogicalResult MatvecLowering::build() {
  b.setInsertionPointToStart(&kernel.getBody().front());
  setUpSizes();
  setUpMemory();
  policy = b.name("policy", b.call(b.getI64Type(), "evict_first_policy", "bulk_copy.h", {}));
  b.comment("What nobody on the device writes comes before the wait.");
  b.ifThen(isLeader, [&] {
    // A short K leaves warps without a chunk; the others then have one.
    Value share = chunks < schedule.getWarps() ? b.index(1) : count;
    b.loop("i", schedule.getStages(), KernelBuilder::Unrolled, [&](Value i) {
      Value chunk = b.div(i, schedule.getGroups());
      Value batch = b.name("batch", b.div(chunk, share));
      Value exists = b.less(batch, batches);
      if (chunks < schedule.getWarps())
        exists = b.both(exists, b.less(warp, chunks));
      b.ifThen(exists, [&] { issueWeights(batch, b.rem(chunk, share), b.rem(i, schedule.getGroups()), i); });
    });
  });
  loadVectors();
  b.syncWarp();
  cuda::DependOp::create(b);

  if (isOneRow()) {
    if (failed(stageRow()))
      return failure();
  } else {
    rowIndices = b.local("row_indices", halves(), b.getIndexType(), zero);
    rowValid = b.local("row_valid", halves(), b.getI1Type(), arith::ConstantIntOp::create(b, 0, 1));
    for (int64_t half = 0; half < halves(); ++half) {
      Value row = b.name("row", b.add(b.div(lane, 4), half * 8));
      b.ifThen(b.less(row, rows), [&] {
        Value valid, index = rowOf(b.add(firstRow, row), valid);
        b.set(index, rowIndices, b.index(half));
        b.set(valid ? valid : arith::ConstantIntOp::create(b, 1, 1).getResult(), rowValid, b.index(half));
      });
    }
    if (!loop.sums.empty())
      totals = b.local("totals", {static_cast<int64_t>(loop.sums.size()), halves()}, b.getF32Type(), b.f32(0));
    fragments = b.local("x", {depth, halves(), schedule.getChunkAtoms() * 2, 4}, b.getI32Type(), b.i32(0));
    if (depth > 1)
      b.loop("i", depth, KernelBuilder::Unrolled,
             [&](Value i) { loadFragments(b.add(warp, b.mul(i, schedule.getWarps())), i, b.rem(lane, 4)); });
  }

  // Batches whose sums have room at once.
  int64_t batchBytes = schedule.getGroups() * schedule.getWarps() * schedule.getRows() * kGroupRows * 4;
  int64_t room = batchesOfBlock == 1 ? 1 : std::min(batchesOfBlock, schedule.getPartialBytes() / batchBytes);
  bool isWhole = room == batchesOfBlock;
  std::unique_ptr<Elements> elements;
  Value isOwner;
  if (isWhole && groupsOfBlock * 4 * schedule.getRows() <= schedule.getWarps() * 32) {
    FailureOr<std::unique_ptr<Elements>> prefetched = prefetchEpilogue(isOwner);
    if (failed(prefetched))
      return failure();
    elements = std::move(*prefetched);
  }
  entry = b.local("entry", {}, b.getIndexType(), zero);
  LogicalResult result = success();
  auto products = [&](Value from, Value to) {
    b.loop("batch", from, to, b.index(1), KernelBuilder::Rolled, [&](Value batch) {
      if (failed(accumulate(batch)))
        result = failure();
      if (batchesOfBlock == 1)
        b.barrier();
      storeSums(b.sub(batch, from));
    });
    storeRowSums();
    b.barrier();
  };
  auto epilogue = [&](Value firstGroup, Value endGroup) {
    Value pairs = b.name("pairs", b.mul(b.sub(b.min(groups, endGroup), firstGroup), 4));
    b.loop("unit", thread, b.name("units", b.mul(pairs, rows)), b.index(schedule.getWarps() * 32),
           KernelBuilder::Rolled, [&](Value unit) {
             if (failed(elementsOf(unit, firstGroup, pairs)->emit(program.getBody().front(), loop.loop)))
               result = failure();
           });
  };
  if (isWhole) {
    products(zero, batches);
    if (!elements)
      epilogue(zero, groups);
    else
      b.ifThen(isOwner, [&] {
        if (failed(elements->emit(program.getBody().front(), loop.loop)))
          result = failure();
      });
    return result;
  }
  b.comment("As many batches as there is room for their sums, then their epilogue.");
  b.loop("from", zero, batches, b.index(room), KernelBuilder::Rolled, [&](Value from) {
    Value to = b.name("to", b.min(batches, b.add(from, room)));
    products(from, to);
    epilogue(b.mul(from, schedule.getGroups()), b.mul(to, schedule.getGroups()));
    b.barrier();
  });
  return result;
}

LogicalResult MatvecLowering::run() {
  if (failed(build()))
    return failure();
  if (groupsOfBlock * atoms * kAtomBytes > std::numeric_limits<int32_t>::max())
    return program.emitError("gives a block ")
           << groupsOfBlock * atoms * kAtomBytes << " bytes of weights; a kernel counts at most 2^31 - 1";
  kernel.setSharedBytes(schedule.getSharedBytes());
  kernel.setMinBlocks(schedule.getSlots());
  cuda::Count blocks;
  blocks.multiplier = schedule.getBlocks();
  kernel.setGridAttr(cuda::GridAttr::get(program.getContext(), {blocks, layerRows.tilesOf(schedule.getRows())}));
  return success();
}

LogicalResult inlay::lowerMatvec(tile::ProgramOp program, OpBuilder &builder) {
  FailureOr<MainLoop> loop = findMainLoop(program);
  if (failed(loop))
    return failure();
  if (failed(requirePackedWeights(program, *loop, "matvec")))
    return failure();
  if (loop->k % 8 != 0)
    return loop->loop.emitError("runs over ")
           << loop->k << " columns; rows are read in 16 bytes, so expected a multiple of 8";
  if (auto gather = dyn_cast<tile::GatherOp>(loop->rows); gather && !gather.getIndices().getDefiningOp<tile::LoadOp>())
    return gather.emitError("gathers rows by computed indices; the family matvec takes loaded ones");
  auto schedule = cast<tile::MatvecAttr>(program.getScheduleAttr());
  FailureOr<cuda::KernelOp> kernel = createKernel(program, builder, schedule.getWarps() * 32);
  if (failed(kernel))
    return failure();
  MatvecLowering lowering(program, *loop, schedule, LayerRows(program, *loop), *kernel);
  return lowering.run();
}
