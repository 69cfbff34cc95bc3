//===- PrefetchWeights.cpp - weights of the next product on their way -----===//
//
// Kernels of sums over ranks wait for other ranks, and memory is idle. Here they get the
// weights of the product that is launched behind them, as an argument and in a
// tile.prefetch at their start.
//
//===----------------------------------------------------------------------===//

#include "dialects/tile/UniquePrograms.h"
#include "mlir/IR/BuiltinOps.h"
#include "passes/tile/MainLoop.h"
#include "passes/tile/Passes.h"

namespace inlay {
#define GEN_PASS_DEF_PREFETCHWEIGHTSPASS
#include "passes/tile/Passes.h.inc"
} // namespace inlay

using namespace mlir;
using namespace inlay;

namespace {
struct PrefetchWeightsPass : inlay::impl::PrefetchWeightsPassBase<PrefetchWeightsPass> {
  using PrefetchWeightsPassBase::PrefetchWeightsPassBase;
  void runOnOperation() override;
};

/// What the program of a sum brings of the weights of the program behind it.
struct Prefetch {
  BlockArgument weights; // of the program behind the sum
  int64_t columns = 0, share = 0;
};
} // namespace

/// Whether `program` is a sum over ranks and what follows it, without a product.
static bool isSum(tile::ProgramOp program) {
  return program && !program.getScheduleAttr() && tile::ReceiveSumOp::of(program);
}

/// The launch behind `launch` in the same section; null if there is none.
static tile::LaunchOp nextOf(tile::LaunchOp launch) {
  auto next = dyn_cast_or_null<tile::LaunchOp>(launch->getNextNode());
  return next && next.getSection() == launch.getSection() ? next : tile::LaunchOp();
}

/// What is brought of the weights of `next`, about `bytes`; no weights where nothing is, and then `reason` says why.
/// Fails after a diagnostic where `next` is no program that its schedule can run.
static FailureOr<Prefetch> choosePrefetch(tile::ProgramOp next, int64_t bytes, std::string &reason) {
  auto schedule = dyn_cast_or_null<tile::SwapAbAttr>(next.getScheduleAttr());
  if (!schedule) {
    reason = ("'" + next.getSymName() + "' does not have the schedule swap_ab").str();
    return Prefetch();
  }
  FailureOr<MainLoop> loop = findMainLoop(next);
  if (failed(loop))
    return failure();
  auto weights = cast<BlockArgument>(loop->weight.getView());
  auto view = cast<tile::ViewType>(weights.getType());
  auto packing = next.getArgAttrOfType<StringAttr>(weights.getArgNumber(), tile::kPackingAttr);
  int64_t elementBytes = view.getElementType().getIntOrFloatBitWidth() / 8;
  if (elementBytes != 2 || !packing || packing.getValue() != tile::kAtomPacking) {
    reason =
        ("the weights of '" + next.getSymName() + "' are not 16-bit elements packed as " + tile::kAtomPacking).str();
    return Prefetch();
  }
  int64_t share = schedule.share(loop->k) * schedule.getTileK();
  int64_t starts = llvm::divideCeil(loop->k, share);
  // The last block may have fewer columns than the others.
  int64_t most = std::min<int64_t>(share, llvm::alignTo(loop->k, tile::kAtomColumns) - (starts - 1) * share);
  int64_t columns = bytes / (view.getShape()[0] * starts * elementBytes) / tile::kAtomColumns * tile::kAtomColumns;
  return Prefetch{weights, std::clamp(columns, tile::kAtomColumns, most), share};
}

/// A program that does what `sum` does, and brings weights, which are its last argument.
static tile::ProgramOp withPrefetch(tile::ProgramOp sum, const Prefetch &prefetch) {
  tile::ProgramOp clone = sum.clone();
  auto next = cast<tile::ProgramOp>(prefetch.weights.getOwner()->getParentOp());
  unsigned last = clone.getNumArguments();
  // A program has one block and no results, so that nothing keeps arguments from being added.
  [[maybe_unused]] LogicalResult inserted = clone.insertArgument(
      last, prefetch.weights.getType(), next.getArgAttrDict(prefetch.weights.getArgNumber()), clone.getLoc());
  assert(succeeded(inserted));
  OpBuilder builder = OpBuilder::atBlockBegin(&clone.getBody().front());
  tile::PrefetchOp::create(builder, clone.getLoc(), clone.getArgument(last), prefetch.columns, prefetch.share);
  return clone;
}

void PrefetchWeightsPass::runOnOperation() {
  SymbolTable symbols(getOperation());
  tile::UniquePrograms programs;
  // For a program of a sum and the one behind it: what is brought, and the program that does so.
  DenseMap<std::pair<tile::ProgramOp, tile::ProgramOp>, std::pair<Prefetch, StringAttr>> chosen;
  SetVector<tile::ProgramOp> replaced; // in some launches
  for (auto entry : getOperation().getOps<tile::EntryOp>())
    for (auto launch : entry.getBody().getOps<tile::LaunchOp>()) {
      auto sum = symbols.lookup<tile::ProgramOp>(launch.getProgram());
      if (!isSum(sum))
        continue;
      tile::LaunchOp nextLaunch = nextOf(launch);
      auto next = nextLaunch ? symbols.lookup<tile::ProgramOp>(nextLaunch.getProgram()) : tile::ProgramOp();
      auto [it, isNew] = chosen.try_emplace({sum, next});
      auto &[prefetch, symbol] = it->second;
      if (isNew) {
        std::string reason = "nothing is launched behind it";
        FailureOr<Prefetch> choice = next ? choosePrefetch(next, bytes, reason) : Prefetch();
        if (failed(choice))
          return signalPassFailure();
        prefetch = *choice;
        InFlightDiagnostic remark = sum.emitRemark();
        if (prefetch.weights) {
          symbol = programs.insert(withPrefetch(sum, prefetch), sum.getSymName() + "_prefetch", symbols);
          remark << "brings the first " << prefetch.columns << " of each " << prefetch.share
                 << " columns of the weights of '" << next.getSymName() << "' to the L2 cache";
        } else {
          remark << "brings no weights to the L2 cache: " << reason;
        }
      }
      if (!prefetch.weights)
        continue;
      replaced.insert(sum);
      launch.setProgramAttr(FlatSymbolRefAttr::get(symbol));
      SmallVector<Attribute> arguments(launch.getArguments().getValue());
      arguments.push_back(nextLaunch.getArguments()[prefetch.weights.getArgNumber()]);
      launch.setArgumentsAttr(ArrayAttr::get(launch.getContext(), arguments));
    }
  DenseSet<StringAttr> launched;
  getOperation().walk([&](tile::LaunchOp launch) { launched.insert(launch.getProgramAttr().getAttr()); });
  for (tile::ProgramOp sum : replaced)
    if (!launched.contains(sum.getSymNameAttr()))
      symbols.erase(sum);
}
