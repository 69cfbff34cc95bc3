//===- SkewLoop.cpp - one product of a loop an iteration ahead of another --===//
//
// In attention, the scores of a tile of keys do not depend on those before, and the
// outputs do depend on the scores: so that the tensor cores have work while weights are
// computed from scores, the scores of the next tile are started with the outputs of this
// one.
//
//   for i { s = x * k[i]; w = f(s); o += w * v[i] }
//
// becomes
//
//   s = x * k[0]
//   for i but the last { w = f(s); o += w * v[i], s = x * k[i + 1] }
//   w = f(s); o += w * v[last]
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "passes/tile/Divisors.h"
#include "passes/tile/Pipelining.h"
#include "llvm/ADT/SmallPtrSet.h"

using namespace mlir;
using namespace inlay;

namespace {
/// A product and what brings its right operand.
struct RingProduct {
  tile::DotOp dot;
  tile::WaitOp wait;
  tile::ClearRowsOp clear; // null: no rows have to be cleared
  tile::ReleaseOp release;

  bool has(Operation *op) const { return op && (op == dot || op == wait || op == clear || op == release); }
  Value ring() const { return Value(const_cast<tile::WaitOp &>(wait).getRing()); }
};

class Skewing {
public:
  Skewing(scf::ForOp loop, RingProduct ahead, RingProduct behind, bool takesTurns)
      : loop(loop), ahead(ahead), behind(behind), takesTurns(takesTurns), b(loop.getLoc(), loop) {}
  FailureOr<scf::ForOp> run();

private:
  Value start(const RingProduct &product, IRMapping &mapping, bool isLast);
  void release(const RingProduct &product) { tile::ReleaseOp::create(b, product.ring()); }
  void cloneOthers(IRMapping &mapping);
  scf::ForOp buildLoop(Value last, Value scores);
  void buildLast(scf::ForOp before, Value last);

  scf::ForOp loop;
  RingProduct ahead, behind;
  bool takesTurns;
  ImplicitLocOpBuilder b;
};
} // namespace

//===----------------------------------------------------------------------===//
// The two products
//===----------------------------------------------------------------------===//

static FailureOr<RingProduct> ringProduct(tile::DotOp dot, scf::ForOp loop) {
  RingProduct result{dot, {}, dot.getRhs().getDefiningOp<tile::ClearRowsOp>(), {}};
  Value right = result.clear ? Value(result.clear.getTile()) : Value(dot.getRhs());
  result.wait = right.getDefiningOp<tile::WaitOp>();
  if (!result.wait || result.wait.getNumResults() != 1 || result.wait->getParentOp() != loop)
    return dot.emitError("has a right operand that does not come from a ring of its own");
  for (auto release : loop.getBody()->getOps<tile::ReleaseOp>())
    if (release.getRing() == result.wait.getRing()) {
      if (result.release)
        return release.emitError("releases a second slot in an iteration; expected one");
      result.release = release;
    }
  if (!result.release)
    return dot.emitError("reads a ring whose slots are not released in its loop");
  return result;
}

/// Whether `value` is known before the iteration: from outside of `loop`, or a constant.
static bool isKnownBefore(Value value, scf::ForOp loop) {
  return loop.isDefinedOutsideOfLoop(value) || matchPattern(value, m_Constant());
}

static bool canRunAhead(const RingProduct &product, scf::ForOp loop) {
  tile::DotOp dot = product.dot;
  return !product.clear && dot.getTransposeRhs() && isKnownBefore(dot.getLhs(), loop) &&
         matchPattern(dot.getAccumulator(), m_AnyZeroFloat());
}

//===----------------------------------------------------------------------===//
// Rows that only the last iteration lacks
//===----------------------------------------------------------------------===//

/// The scalar that all elements of a tile are; null where they differ.
static Value splatted(Value tile) {
  auto splat = tile.getDefiningOp<tensor::SplatOp>();
  return splat ? splat.getInput() : Value();
}

static Value withoutCasts(Value value) {
  while (auto cast = value ? value.getDefiningOp<arith::IndexCastOp>() : arith::IndexCastOp())
    value = cast.getIn();
  return value;
}

/// Whether `tile` is the index of `loop` + 0, 1, ..., less than one step in all.
static bool isPosition(Value tile, scf::ForOp loop) {
  auto sum = tile.getDefiningOp<arith::AddIOp>();
  std::optional<int64_t> step = getConstantIntValue(loop.getStep());
  if (!sum || !step || cast<RankedTensorType>(tile.getType()).getNumElements() > *step)
    return false;
  for (auto [start, rest] : {std::pair(sum.getLhs(), sum.getRhs()), {sum.getRhs(), sum.getLhs()}})
    if (withoutCasts(splatted(start)) == loop.getInductionVar() && rest.getDefiningOp<tile::IotaOp>())
      return true;
  return false;
}

/// What all elements of `condition` are in each iteration of `loop` but the last; none where that does not show.
static std::optional<bool> beforeLast(Value condition, scf::ForOp loop) {
  if (auto inverse = condition.getDefiningOp<arith::XOrIOp>(); inverse && matchPattern(inverse.getRhs(), m_One())) {
    std::optional<bool> inner = beforeLast(inverse.getLhs(), loop);
    return inner ? std::optional<bool>(!*inner) : inner;
  }
  auto order = condition.getDefiningOp<arith::CmpIOp>();
  if (!order || order.getPredicate() != arith::CmpIPredicate::slt)
    return std::nullopt;
  Value left = order.getLhs(), right = order.getRhs();
  // A position before the loop's end.
  if (isPosition(left, loop) && splatted(right) && withoutCasts(splatted(right)) == withoutCasts(loop.getUpperBound()))
    return true;
  // A position, where it is held, before 0.
  auto select = left.getDefiningOp<arith::SelectOp>();
  if (select && matchPattern(right, m_Zero()) && isPosition(select.getTrueValue(), loop) &&
      isNonNegative(loop.getLowerBound()) && beforeLast(select.getCondition(), loop) == true)
    return false;
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// The new loop
//===----------------------------------------------------------------------===//

/// Waits for the operands of a product and starts it. Rows that only the last iteration lacks are cleared there.
Value Skewing::start(const RingProduct &product, IRMapping &mapping, bool isLast) {
  tile::DotOp dot = product.dot;
  auto wait = cast<tile::WaitOp>(b.clone(*product.wait, mapping));
  Value right = wait.getTiles()[0];
  if (tile::ClearRowsOp clear = product.clear; clear && (isLast || beforeLast(clear.getHeld(), loop) != true))
    right = tile::ClearRowsOp::create(b, right, mapping.lookupOrDefault(clear.getHeld()), clear.getRun());
  auto known = [&](Value value) -> Value {
    Operation *op = value.getDefiningOp();
    return op && loop->isAncestor(op) && !mapping.contains(value) ? b.clone(*op)->getResult(0)
                                                                  : mapping.lookupOrDefault(value);
  };
  return tile::DotAsyncOp::create(b, known(dot.getLhs()), right, known(dot.getAccumulator()),
                                  /*columns=*/!dot.getTransposeRhs());
}

/// All that is neither of the two products nor what they read.
void Skewing::cloneOthers(IRMapping &mapping) {
  for (Operation &op : loop.getBody()->without_terminator())
    if (!ahead.has(&op) && !behind.has(&op))
      b.clone(op, mapping);
}

scf::ForOp Skewing::buildLoop(Value last, Value scores) {
  SmallVector<Value> inits(loop.getInitArgs());
  inits.push_back(scores);
  auto result = scf::ForOp::create(b, loop.getLowerBound(), last, loop.getStep(), inits);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(result.getBody());
  IRMapping mapping;
  mapping.map(loop.getInductionVar(), result.getInductionVar());
  mapping.map(loop.getRegionIterArgs(), result.getRegionIterArgs().drop_back());
  mapping.map(ahead.dot.getResult(), result.getRegionIterArgs().back());
  cloneOthers(mapping);
  SmallVector<Value> started;
  auto startBoth = [&] {
    started.push_back(start(behind, mapping, /*isLast=*/false));
    started.push_back(start(ahead, mapping, /*isLast=*/false));
  };
  if (takesTurns) {
    auto turn = tile::InTurnOp::create(b, TypeRange{behind.dot.getResult().getType(), ahead.dot.getResult().getType()});
    OpBuilder::InsertionGuard inner(b);
    b.setInsertionPointToStart(&turn.getBody().emplaceBlock());
    startBoth();
    tile::YieldOp::create(b, started);
    started.assign(turn.result_begin(), turn.result_end());
  } else {
    startBoth();
  }
  b.setInsertionPointToEnd(result.getBody());
  started[0] = tile::DotWaitOp::create(b, started[0], /*pending=*/1).getResult(0);
  release(behind);
  auto done = tile::DotWaitOp::create(b, started, /*pending=*/0);
  release(ahead);
  mapping.map(behind.dot.getResult(), done.getResult(0));
  SmallVector<Value> yields;
  for (Value value : loop.getBody()->getTerminator()->getOperands())
    yields.push_back(mapping.lookupOrDefault(value));
  yields.push_back(done.getResult(1));
  scf::YieldOp::create(b, yields);
  return result;
}

/// The last iteration, whose results are those of the branch around it.
void Skewing::buildLast(scf::ForOp before, Value last) {
  IRMapping mapping;
  mapping.map(loop.getInductionVar(), last);
  mapping.map(loop.getRegionIterArgs(), before.getResults().drop_back());
  mapping.map(ahead.dot.getResult(), before.getResults().back());
  cloneOthers(mapping);
  Value started = start(behind, mapping, /*isLast=*/true);
  auto done = tile::DotWaitOp::create(b, started, /*pending=*/0);
  release(behind);
  mapping.map(behind.dot.getResult(), done.getResult(0));
  SmallVector<Value> yields;
  for (Value value : loop.getBody()->getTerminator()->getOperands())
    yields.push_back(mapping.lookupOrDefault(value));
  scf::YieldOp::create(b, yields);
}

FailureOr<scf::ForOp> Skewing::run() {
  Value from = loop.getLowerBound(), to = loop.getUpperBound(), step = loop.getStep();
  // Without an iteration there is nothing to run ahead.
  Value isRun = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, from, to);
  auto branch = scf::IfOp::create(b, loop.getResultTypes(), isRun, /*withElseRegion=*/true);
  b.setInsertionPointToStart(branch.elseBlock());
  scf::YieldOp::create(b, loop.getInitArgs());

  b.setInsertionPointToStart(branch.thenBlock());
  Value one = arith::ConstantIndexOp::create(b, 1);
  Value span = arith::SubIOp::create(b, arith::SubIOp::create(b, to, from), one);
  Value before = arith::MulIOp::create(b, arith::DivSIOp::create(b, span, step), step);
  Value last = arith::AddIOp::create(b, from, before);
  IRMapping mapping;
  Value first = start(ahead, mapping, /*isLast=*/false);
  first = tile::DotWaitOp::create(b, first, /*pending=*/0).getResult(0);
  release(ahead);
  scf::ForOp result = buildLoop(last, first);
  b.setInsertionPointAfter(result);
  buildLast(result, last);
  loop.replaceAllUsesWith(branch.getResults());
  loop.erase();
  return result;
}

FailureOr<scf::ForOp> inlay::skewLoop(scf::ForOp loop, bool takesTurns) {
  auto dots = llvm::to_vector(loop.getBody()->getOps<tile::DotOp>());
  if (dots.size() != 2)
    return loop.emitError("has ") << dots.size() << " products; expected two, of which one runs ahead";
  FailureOr<RingProduct> x = ringProduct(dots[0], loop), y = ringProduct(dots[1], loop);
  if (failed(x) || failed(y))
    return failure();
  if (!canRunAhead(*x, loop))
    return dots[0].emitError(
        "depends on its iteration; expected a left operand from outside of the loop, keys from a ring, "
        "and sums that start from 0");
  for (Operation *user : dots[1].getResult().getUsers())
    if (user != loop.getBody()->getTerminator())
      return user->emitError("uses the sums of a product in flight; expected the end of the loop");
  return Skewing(loop, *x, *y, takesTurns).run();
}
