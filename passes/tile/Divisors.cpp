//===- Divisors.cpp - what the scalars and indices of a program are multiples of ===//

#include "passes/tile/Divisors.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

#include <numeric>

using namespace mlir;
using namespace inlay;

/// The loop of which `value` is the index; null for anything else.
static scf::ForOp loopOfIndex(Value value) {
  auto argument = dyn_cast<BlockArgument>(value);
  auto loop = argument ? dyn_cast<scf::ForOp>(argument.getOwner()->getParentOp()) : scf::ForOp();
  return loop && argument == loop.getInductionVar() ? loop : scf::ForOp();
}

int64_t inlay::divisorOf(Value value) {
  constexpr int64_t unknown = 1, everything = int64_t(1) << 20;
  APInt constant;
  if (matchPattern(value, m_ConstantInt(&constant)))
    return constant.isZero() ? everything : std::abs(constant.getSExtValue());
  if (isa<BlockArgument>(value)) {
    scf::ForOp loop = loopOfIndex(value);
    return loop ? std::gcd(divisorOf(loop.getLowerBound()), divisorOf(loop.getStep())) : unknown;
  }
  auto product = [&](int64_t x, int64_t y) { return std::min(everything, x * std::min<int64_t>(y, 1 << 20)); };
  return llvm::TypeSwitch<Operation *, int64_t>(value.getDefiningOp())
      .Case([&](arith::MulIOp op) { return product(divisorOf(op.getLhs()), divisorOf(op.getRhs())); })
      .Case<arith::AddIOp, arith::SubIOp, arith::MinSIOp, arith::MaxSIOp>(
          [&](auto op) { return std::gcd(divisorOf(op.getLhs()), divisorOf(op.getRhs())); })
      .Case([&](arith::SelectOp op) { return std::gcd(divisorOf(op.getTrueValue()), divisorOf(op.getFalseValue())); })
      .Case<arith::DivUIOp, arith::DivSIOp>([&](auto op) -> int64_t {
        APInt by;
        if (!matchPattern(op.getRhs(), m_ConstantInt(&by)) || by.getSExtValue() <= 0 ||
            divisorOf(op.getLhs()) % by.getSExtValue() != 0)
          return unknown;
        return divisorOf(op.getLhs()) / by.getSExtValue();
      })
      .Case<arith::RemUIOp, arith::RemSIOp>(
          [&](auto op) { return std::gcd(divisorOf(op.getLhs()), divisorOf(op.getRhs())); })
      .Case([&](arith::IndexCastOp op) { return divisorOf(op.getIn()); })
      .Default([&](Operation *) { return unknown; });
}

bool inlay::isNonNegative(Value value) {
  APInt constant;
  if (matchPattern(value, m_ConstantInt(&constant)))
    return !constant.isNegative();
  if (isa<BlockArgument>(value)) {
    scf::ForOp loop = loopOfIndex(value);
    return loop && isNonNegative(loop.getLowerBound());
  }
  return llvm::TypeSwitch<Operation *, bool>(value.getDefiningOp())
      .Case<arith::MulIOp, arith::AddIOp, arith::MinSIOp, arith::DivSIOp>(
          [](auto op) { return isNonNegative(op.getLhs()) && isNonNegative(op.getRhs()); })
      .Case([](arith::MaxSIOp op) { return isNonNegative(op.getLhs()) || isNonNegative(op.getRhs()); })
      .Case([](arith::IndexCastOp op) { return isNonNegative(op.getIn()); })
      .Default([](Operation *) { return false; });
}

//===----------------------------------------------------------------------===//
// Runs
//===----------------------------------------------------------------------===//

namespace {
/// What the elements of a run have to do with each other, and a divisor of the first.
struct Run {
  enum { Unknown, Equal, Following } kind = Unknown;
  int64_t divisor = 1;
};

class RunAnalysis {
public:
  explicit RunAnalysis(int64_t length) : length(length) {}
  Run of(Value tile);
  /// Conditions of elements: the others are no part of any run.
  SmallVector<Value> guards;

private:
  int64_t length;
};
} // namespace

static std::optional<int64_t> splatOf(Value tile) {
  SplatElementsAttr elements;
  if (!matchPattern(tile, m_Constant(&elements)) || !elements.getElementType().isInteger())
    return std::nullopt;
  return elements.getSplatValue<APInt>().getSExtValue();
}

Run RunAnalysis::of(Value tile) {
  Operation *op = tile.getDefiningOp();
  if (!op)
    return {};
  return llvm::TypeSwitch<Operation *, Run>(op)
      .Case([&](arith::ConstantOp) -> Run {
        std::optional<int64_t> value = splatOf(tile);
        return value ? Run{Run::Equal, *value == 0 ? int64_t(1) << 20 : std::abs(*value)} : Run();
      })
      .Case([&](tensor::SplatOp splat) -> Run { return {Run::Equal, divisorOf(splat.getInput())}; })
      .Case([&](tile::IotaOp) -> Run { return {Run::Following, length}; })
      .Case([&](arith::AddIOp add) -> Run {
        Run x = of(add.getLhs()), y = of(add.getRhs());
        if (!x.kind || !y.kind || (x.kind == Run::Following && y.kind == Run::Following))
          return {};
        return {std::max(x.kind, y.kind), std::gcd(x.divisor, y.divisor)};
      })
      .Case([&](arith::MulIOp mul) -> Run {
        Run x = of(mul.getLhs()), y = of(mul.getRhs());
        return x.kind == Run::Equal && y.kind == Run::Equal
                   ? Run{Run::Equal, std::min<int64_t>(x.divisor, 1 << 20) * std::min<int64_t>(y.divisor, 1 << 20)}
                   : Run();
      })
      // A run that begins at a multiple of its length lies between two multiples of what its length divides.
      .Case([&](arith::DivSIOp div) -> Run {
        Run x = of(div.getLhs());
        std::optional<int64_t> by = splatOf(div.getRhs());
        bool isWhole = x.kind && by && *by > 0 && *by % length == 0 && x.divisor % length == 0;
        return isWhole || (x.kind == Run::Equal && by) ? Run{Run::Equal, 1} : Run();
      })
      .Case([&](arith::RemSIOp rem) -> Run {
        Run x = of(rem.getLhs());
        std::optional<int64_t> by = splatOf(rem.getRhs());
        return x.kind && by && *by > 0 && *by % length == 0 && x.divisor % length == 0 ? Run{x.kind, length} : Run();
      })
      .Case([&](arith::SelectOp select) -> Run {
        std::optional<int64_t> other = splatOf(select.getFalseValue());
        if (!other || *other >= 0)
          return {};
        guards.push_back(select.getCondition());
        return of(select.getTrueValue());
      })
      .Case([&](tile::GatherOp gather) -> Run {
        bool isEqual = gather.getType().getRank() == 1 && of(gather.getIndices()).kind == Run::Equal;
        return isEqual ? Run{Run::Equal, 1} : Run();
      })
      .Default([](Operation *) { return Run(); });
}

/// The tile that `condition` says is not negative; null for other conditions.
static Value notNegative(Value condition) {
  auto inverse = condition.getDefiningOp<arith::XOrIOp>();
  if (inverse && matchPattern(inverse.getRhs(), m_One()))
    if (auto less = inverse.getLhs().getDefiningOp<arith::CmpIOp>())
      return less.getPredicate() == arith::CmpIPredicate::slt && splatOf(less.getRhs()) == 0 ? less.getLhs() : Value();
  auto order = condition.getDefiningOp<arith::CmpIOp>();
  return order && order.getPredicate() == arith::CmpIPredicate::sge && splatOf(order.getRhs()) == 0 ? order.getLhs()
                                                                                                    : Value();
}

/// Whether `guard` holds wherever `condition` does.
static bool implies(Value condition, Value guard) {
  if (condition == guard)
    return true;
  if (auto both = condition.getDefiningOp<arith::AndIOp>())
    return implies(both.getLhs(), guard) || implies(both.getRhs(), guard);
  Value tile = notNegative(condition);
  auto select = tile ? tile.getDefiningOp<arith::SelectOp>() : arith::SelectOp();
  std::optional<int64_t> other = select ? splatOf(select.getFalseValue()) : std::nullopt;
  return other && *other < 0 && implies(select.getCondition(), guard);
}

bool inlay::comeInRuns(Value indices, int64_t run) {
  RunAnalysis analysis(run);
  if (analysis.of(indices).kind != Run::Following)
    return false;
  // Elements that a guard leaves out are negative, since the outermost select says so.
  auto select = indices.getDefiningOp<arith::SelectOp>();
  return analysis.guards.empty() ||
         (select && llvm::all_of(analysis.guards, [&](Value guard) { return implies(select.getCondition(), guard); }));
}
