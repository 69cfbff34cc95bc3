//===- SelectLibrary.cpp - products that a library computes faster ---------===//

#include "passes/llm/Passes.h"
#include "passes/tile/tuning/TuningFile.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;

namespace inlay {
#define GEN_PASS_DEF_SELECTLIBRARYPASS
#include "passes/llm/Passes.h.inc"
} // namespace inlay

/// A product that the library computes takes its weight twice, which a gain of less is not worth.
static constexpr double mostOfGeneratedTime = 0.97;

namespace {
struct SelectLibraryPass : inlay::impl::SelectLibraryPassBase<SelectLibraryPass> {
  using SelectLibraryPassBase::SelectLibraryPassBase;
  void runOnOperation() override;
};
} // namespace

/// Why the library cannot compute `linear`; empty if it can.
static std::string whyRefused(LinearOp linear, WeightOp weight) {
  if (linear.getOutputs().size() != 1 || weight.getRowOrder() != RowOrder::Plain)
    return "its columns are rotated, gated or read apart while they are in registers";
  if (linear.getBias())
    return "it adds a bias";
  if (weight.getTensorType().getElementTypeBitWidth() != 16)
    return "its elements are not 16 bits wide";
  return "";
}

/// The shape of `linear` as measurements name it.
static LibraryKey keyOf(LinearOp linear, WeightOp weight) {
  RankedTensorType type = weight.getTensorType();
  Value result = linear.getOutputs().front();
  bool isAdded = result.hasOneUse() && isa<AddOp>(*result.user_begin());
  return {type.getDimSize(0), type.getDimSize(1), type.getElementType().isBF16() ? "bf16" : "f16",
          isAdded ? "residual" : "store"};
}

/// The measurement at the most rows that the step may have; null if there is none.
static const LibraryEntry *findMeasurement(const TuningFile &measured, const LibraryKey &key, int64_t maxRows) {
  auto found = measured.libraries.find(key);
  if (found == measured.libraries.end())
    return nullptr;
  auto above = found->second.upper_bound(maxRows);
  return above == found->second.begin() ? nullptr : &std::prev(above)->second;
}

/// The weight of `linear` in the layout that the library reads, beside the packed one.
static WeightOp rowMajorTwin(WeightOp weight, SymbolTable &symbols) {
  if (weight.getPacking() == Packing::RowMajor)
    return weight;
  std::string name = weight.getSymName().str() + ".row_major";
  if (auto twin = symbols.lookup<WeightOp>(name))
    return twin;
  auto twin = cast<WeightOp>(weight->clone());
  twin.setSymName(name);
  twin.setPacking(Packing::RowMajor);
  symbols.insert(twin, std::next(Block::iterator(weight)));
  return twin;
}

/// Gives `linear` to the library if `entry` or `always` says so.
static void select(LinearOp linear, WeightOp weight, const LibraryEntry *entry, const std::string &chip, bool always,
                   SymbolTable &symbols) {
  std::string measured = entry ? llvm::formatv("on {0} it took {1:f1} us at {2} rows and the generated kernel {3:f1}",
                                               chip, entry->microseconds, entry->rows, entry->generatedMicroseconds)
                                     .str()
                               : "nobody has measured its shape";
  if (!always && entry->microseconds > mostOfGeneratedTime * entry->generatedMicroseconds) {
    linear.emitRemark() << "not given to " << kCublasLt << ": " << measured;
    return;
  }
  WeightOp twin = rowMajorTwin(weight, symbols);
  linear.setWeight(twin.getSymName());
  linear.setLibrary(kCublasLt);
  RankedTensorType type = weight.getTensorType();
  InFlightDiagnostic remark = linear.emitRemark() << "given to " << kCublasLt << ": " << measured;
  if (twin != weight)
    remark << "; a second copy of its weight takes " << type.getNumElements() * type.getElementTypeBitWidth() / 8
           << " bytes";
}

void SelectLibraryPass::runOnOperation() {
  absl::StatusOr<TuningFile> measured = TuningFile::open(tuning, tile::targetOf(getOperation()).getArch().str());
  if (!measured.ok()) {
    getOperation().emitError() << std::string(measured.status().message());
    return signalPassFailure();
  }
  SymbolTable symbols(getOperation());
  getOperation().walk([&](LinearOp linear) {
    auto weight = symbols.lookup<WeightOp>(linear.getWeight());
    if (!weight || linear.getLibrary())
      return;
    if (std::string reason = whyRefused(linear, weight); !reason.empty()) {
      if (always)
        linear.emitRemark() << "not given to " << kCublasLt << ": " << reason;
      return;
    }
    const LibraryEntry *entry = findMeasurement(*measured, keyOf(linear, weight), maxRows);
    if (entry || always)
      select(linear, weight, entry, measured->chip, always, symbols);
  });
}
