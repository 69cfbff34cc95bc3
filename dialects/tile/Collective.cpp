//===- Collective.cpp - what ranks do together ----------------------------===//
//
// The verifiers of tile.collective, of tile.receive_sum, of its launch and of stores that push, the size of kernels
// that exchange, and what a program exchanges.
//
//===----------------------------------------------------------------------===//

#include "dialects/tile/Collective.h"

using namespace mlir;
using namespace inlay::tile;

CollectiveOp CollectiveOp::of(ProgramOp program) {
  auto all = program.getOps<CollectiveOp>();
  return all.empty() ? CollectiveOp() : *all.begin();
}

/// Whether kernels exchange elements of this type.
static bool isExchanged(Type element) { return element.isF32() || element.isF16() || element.isBF16(); }

/// What a rank has of a row.
static int64_t rowBytesOf(ViewType view) {
  return view.getShape()[1] * view.getElementType().getIntOrFloatBitWidth() / 8;
}
static int64_t rowBytesOf(CollectiveOp op) { return rowBytesOf(op.getInput().getType()); }

int64_t inlay::tile::oneShotRows(TargetAttr target, int64_t ranks, int64_t rowBytes) {
  CostModelAttr costs = target.costs();
  return (ranks == 2 ? costs.getOneShotPairBytes() : costs.getOneShotBytes()) / rowBytes;
}

LogicalResult CollectiveOp::verify() {
  ViewType input = getInput().getType(), output = getOutput().getType();
  if (input.getRank() != 2 || output.getRank() != 2 || !input.getExtent() || input.getExtent() != output.getExtent() ||
      input.getElementType() != output.getElementType())
    return emitOpError() << "is of rows of one size of the step and one type, found " << input << " and " << output;
  if (getKind() == CollectiveKind::AllReduce && input.getShape()[1] != output.getShape()[1])
    return emitOpError() << "writes " << output.getShape()[1] << " columns of " << input.getShape()[1];
  if (!llvm::hasNItems(getOperation()->getBlock()->without_terminator(), 1))
    return emitOpError() << "is in a program with other ops, expected a program of its own";
  ExchangeAttr exchange = getExchange().value_or(ExchangeAttr());
  if (!exchange)
    return success();
  Type element = input.getElementType();
  if (!isExchanged(element))
    return emitOpError() << "exchanges " << element << " through kernels, expected f32, f16 or bf16";
  if (output.getShape()[1] > exchange.getRanks() * input.getShape()[1])
    return emitOpError() << "writes " << output.getShape()[1] << " columns, but " << exchange.getRanks()
                         << " ranks have " << input.getShape()[1] << " each";
  return success();
}

LogicalResult ExchangeAttr::verify(function_ref<InFlightDiagnostic()> emitError, int64_t ranks, int64_t rows) {
  if (ranks < 2 || ranks > kMostExchangeRanks)
    return emitError() << "kernels of " << ranks << " ranks cannot exchange rows, expected 2 to " << kMostExchangeRanks;
  if (rows < 1)
    return emitError() << "ranks exchange at least 1 row, found " << rows;
  return success();
}

/// What a rank has of `rows` rows, in words. Rows of sums follow each other without gaps.
static int64_t wordsOf(CollectiveKind kind, int64_t rows, int64_t rowBytes) {
  return kind == CollectiveKind::AllReduce ? llvm::divideCeil(rows * rowBytes, kExchangeWordBytes)
                                           : rows * llvm::divideCeil(rowBytes, kExchangeWordBytes);
}
static int64_t wordsOf(CollectiveOp op, int64_t rows) { return wordsOf(op.getKind(), rows, rowBytesOf(op)); }

/// The most rows of a step of up to `rows` that are exchanged in a round.
static int64_t roundRows(TargetAttr target, CollectiveKind kind, int64_t ranks, int64_t rows, int64_t rowBytes) {
  if (kind != CollectiveKind::AllGather)
    return rows;
  int64_t bytes = ranks * wordsOf(kind, 1, rowBytes) * kExchangeWordBytes;
  return std::clamp<int64_t>(target.costs().getGatherBytes() / bytes, 1, rows);
}

int64_t inlay::tile::exchangeBytes(TargetAttr target, CollectiveKind kind, int64_t ranks, int64_t rows,
                                   int64_t rowBytes) {
  auto wordsOfRows = [&](int64_t count) { return wordsOf(kind, count, rowBytes); };
  if (kind == CollectiveKind::AllGather)
    return ranks * wordsOfRows(roundRows(target, kind, ranks, rows, rowBytes)) * kExchangeWordBytes;
  int64_t oneShot = oneShotRows(target, ranks, rowBytes),
          bytes = ranks * wordsOfRows(std::min(rows, oneShot)) * kExchangeWordBytes;
  if (rows <= oneShot)
    return bytes;
  // A part of the elements from each rank, and the sums of all parts.
  return std::max(bytes,
                  2 * ranks * static_cast<int64_t>(llvm::divideCeil(wordsOfRows(rows), ranks)) * kExchangeWordBytes);
}

int64_t CollectiveOp::getOneShotRows(TargetAttr target) {
  return oneShotRows(target, getExchangeAttr().getRanks(), rowBytesOf(*this));
}

int64_t CollectiveOp::getRoundRows(TargetAttr target) {
  ExchangeAttr exchange = getExchangeAttr();
  return roundRows(target, getKind(), exchange.getRanks(), exchange.getRows(), rowBytesOf(*this));
}

int64_t CollectiveOp::getExchangeBytes(TargetAttr target) {
  ExchangeAttr exchange = getExchangeAttr();
  return exchangeBytes(target, getKind(), exchange.getRanks(), exchange.getRows(), rowBytesOf(*this));
}

int64_t CollectiveOp::getThreads(TargetAttr target) {
  constexpr int64_t few = 256, many = 512;
  return wordsOf(*this, getRoundRows(target)) <= few * target.getMultiprocessors() ? few : many;
}

int64_t CollectiveOp::getBlocks(TargetAttr target) {
  int64_t words = wordsOf(*this, getRoundRows(target));
  return std::min<int64_t>(llvm::divideCeil(words, getThreads(target)), target.getMultiprocessors());
}

ReceiveSumOp ReceiveSumOp::of(ProgramOp program) {
  ReceiveSumOp first;
  program.walk([&](ReceiveSumOp op) {
    first = op;
    return WalkResult::interrupt();
  });
  return first;
}

LogicalResult ReceiveSumOp::verify() {
  ViewType view = getView().getType();
  auto tile = cast<RankedTensorType>(getResult().getType());
  if (view.getRank() != 2 || tile.getRank() != 2 || getOffsets().size() != 2 || !view.getExtent() ||
      ShapedType::isDynamic(view.getShape()[1]) || view.getElementType() != tile.getElementType())
    return emitOpError() << "is of rows of the step and takes their row and column, found " << tile << " of " << view;
  if (!isExchanged(view.getElementType()))
    return emitOpError() << "exchanges " << view.getElementType() << ", expected f32, f16 or bf16";
  if (rowBytesOf(view) % kExchangeWordBytes != 0)
    return emitOpError() << "exchanges rows of " << rowBytesOf(view) << " bytes, expected a multiple of "
                         << kExchangeWordBytes;
  if (auto argument = dyn_cast<BlockArgument>(getView()); !argument || argument.getArgNumber() != 0)
    return emitOpError("sums rows in place without peers, expected those of the first argument");
  if (llvm::any_of(getView().getUsers(), llvm::IsaPred<StoreOp, ScatterOp>))
    return emitOpError("sums rows that its program writes");
  auto program = (*this)->getParentOfType<ProgramOp>();
  if (!program)
    return emitOpError("is in no tile.program");
  if (!getPushed() && (*this)->getParentOp() != program)
    return emitOpError(
        "pushes its tile in a loop or a branch; expected a receive_sum that is pushed, or the top level of "
        "its program");
  if (getPushed() && !getEarly() && (*this)->getParentOp() == program)
    return emitOpError(
        "is pushed and not early at the top level of its program; expected early (llm-push-sums), or the "
        "work of warps");
  if (getEarly()) {
    if (!getPushed())
      return emitOpError("is early and pushes its tile itself; expected a sum that the launch before pushes (pushed)");
    if ((*this)->getParentOp() != program)
      return emitOpError("is early in a loop, a branch or the work of warps; expected the top level of its program");
    if (!getView().hasOneUse())
      return emitOpError(
          "is early, but its program also reads the rows that the launch before may still write; expected "
          "no other op that takes this view");
  }
  if (ReceiveSumOp::of(program) != *this)
    return emitOpError("is the second of its program, which runs in one round of the exchange");
  return success();
}

LogicalResult inlay::tile::verifyPush(StoreOp store) {
  if (!store.getExchange())
    return success();
  ViewType view = store.getView().getType();
  if (view.getRank() != 2 || !view.getExtent() || ShapedType::isDynamic(view.getShape()[1]))
    return store.emitOpError() << "pushes rows of the step, found " << view;
  if (!isExchanged(view.getElementType()))
    return store.emitOpError() << "pushes " << view.getElementType() << ", expected f32, f16 or bf16";
  if (rowBytesOf(view) % kExchangeWordBytes != 0)
    return store.emitOpError() << "pushes rows of " << rowBytesOf(view) << " bytes, expected a multiple of "
                               << kExchangeWordBytes;
  if (auto program = store->getParentOfType<ProgramOp>(); program && ReceiveSumOp::of(program))
    return store.emitOpError("pushes rows in a program that sums others, whose round has not ended");
  return success();
}

StoreOp StoreOp::pushOf(ProgramOp program) {
  StoreOp push;
  program.walk([&](StoreOp store) {
    push = store.getExchange() ? store : StoreOp();
    return push ? WalkResult::interrupt() : WalkResult::advance();
  });
  return push;
}

//===----------------------------------------------------------------------===//
// Launches of early sums
//===----------------------------------------------------------------------===//

/// The launch that runs before `launch`; null if there is none.
static LaunchOp launchBefore(LaunchOp launch) {
  for (Operation *op = launch->getPrevNode(); op; op = op->getPrevNode())
    if (auto other = dyn_cast<LaunchOp>(op); other && other.getSection() == launch.getSection())
      return other;
  return {};
}

static MemoryAttr memoryOf(LaunchOp launch, unsigned argument) {
  return cast<MemoryAttr>(launch.getArguments()[argument]);
}

static bool writes(Operation *op) { return isa<StoreOp, ScatterOp>(op); }

/// The most bytes behind `view`, which lies in the workspace, in a step of `entry`.
static int64_t mostBytes(ViewType view, EntryOp entry) {
  std::optional<Extent> extent = view.getExtent();
  int64_t elements = 1;
  if (extent == Extent::Tokens || extent == Extent::QueryTiles)
    elements = entry.getMaxTokens();
  else if (extent)
    elements = entry.getMaxSequences();
  for (int64_t size : view.getShape())
    elements *= ShapedType::isDynamic(size) ? 1 : size;
  return llvm::divideCeil(elements * view.getElementType().getIntOrFloatBitWidth(), 8);
}

/// Whether two views share memory in a step of `entry`.
static bool overlap(MemoryAttr x, ViewType ofX, MemoryAttr y, ViewType ofY, EntryOp entry) {
  if (x.getKind() != MemoryKind::Workspace || y.getKind() != MemoryKind::Workspace)
    return x == y;
  return x.getNumber() < y.getNumber() + mostBytes(ofY, entry) && y.getNumber() < x.getNumber() + mostBytes(ofX, entry);
}

LogicalResult inlay::tile::verifyEarlyLaunch(LaunchOp launch, ProgramOp program, SymbolTableCollection &symbols) {
  ReceiveSumOp sum = ReceiveSumOp::of(program);
  if (!sum || !sum.getEarly())
    return success();
  LaunchOp before = launchBefore(launch);
  if (!before)
    return launch.emitOpError() << "of '" << launch.getProgram()
                                << "' receives a sum early, but is the first launch of its section; "
                                << "expected one before it that pushes the rows";
  auto pushing = dyn_cast_or_null<ProgramOp>(symbols.lookupNearestSymbolFrom(before, before.getProgramAttr()));
  if (!pushing || pushing.getNumArguments() != before.getArguments().size())
    return success(); // a kernel by now, or an error there
  StoreOp push = StoreOp::pushOf(pushing);
  auto pushed = push ? dyn_cast<BlockArgument>(push.getView()) : BlockArgument();
  if (!pushed || memoryOf(before, pushed.getArgNumber()) != memoryOf(launch, 0))
    return launch.emitOpError() << "of '" << launch.getProgram() << "' receives " << memoryOf(launch, 0)
                                << " early, but the launch before it, of '" << before.getProgram()
                                << "', does not push these rows; expected the one that does";
  auto entry = launch->getParentOfType<EntryOp>();
  for (BlockArgument written : pushing.getArguments())
    for (BlockArgument read : program.getArguments().drop_front())
      if (llvm::any_of(written.getUsers(), writes) && !llvm::all_of(read.getUsers(), writes) &&
          overlap(memoryOf(before, written.getArgNumber()), cast<ViewType>(written.getType()),
                  memoryOf(launch, read.getArgNumber()), cast<ViewType>(read.getType()), entry))
        return launch.emitOpError() << "of '" << launch.getProgram() << "' may read argument " << read.getArgNumber()
                                    << " while the launch before it, of '" << before.getProgram()
                                    << "', writes there; expected memory that only launches before that one write";
  return success();
}

int64_t ReceiveSumOp::getExchangeBytes() {
  return getExchange().getRanks() * getExchange().getRows() * rowBytesOf(getView().getType());
}

std::optional<ExchangedRows> ExchangedRows::of(ProgramOp program) {
  if (CollectiveOp op = CollectiveOp::of(program))
    return ExchangedRows{op, op.getKind(), op.getInput().getType(),
                         op.getKind() == CollectiveKind::AllGather ? op.getOutput().getType().getShape()[1] : 0,
                         op.getExchange() ? op.getExchangeBytes(targetOf(op)) : 0};
  if (ReceiveSumOp op = ReceiveSumOp::of(program))
    return ExchangedRows{op, CollectiveKind::AllReduce, op.getView().getType(), 0, op.getExchangeBytes()};
  return std::nullopt;
}
