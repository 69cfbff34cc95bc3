//===- FuseProjections.cpp - projections of one value become one product ---===//

#include "passes/llm/Passes.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;

namespace inlay {
#define GEN_PASS_DEF_FUSEPROJECTIONSPASS
#include "passes/llm/Passes.h.inc"
} // namespace inlay

namespace {

/// Makes one linear of several that read the same value.
class ProjectionFuser {
public:
  explicit ProjectionFuser(ModuleOp module) : module(module), symbols(module) {
    module.walk([&](Operation *op) {
      for (NamedAttribute attr : op->getAttrs())
        if (auto symbol = dyn_cast<FlatSymbolRefAttr>(attr.getValue()))
          ++uses[symbol.getAttr()];
    });
  }

  /// Fuses `linears` as `name`, or says why not.
  void fuse(ArrayRef<LinearOp> linears, StringRef name, RowOrder order, std::optional<int64_t> headDim) {
    LinearOp first = linears.front();
    std::string fused = (getCheckpointName(first).rsplit('.').first + "." + name).str();
    if (std::string reason = refusal(linears); !reason.empty()) {
      first.emitRemark() << "not fused as " << fused << ": " << reason;
      return;
    }
    auto weightOf = [&](LinearOp linear) { return symbols.lookup<WeightOp>(linear.getWeight()); };
    auto biasOf = [&](LinearOp linear) { return symbols.lookup<WeightOp>(*linear.getBias()); };
    FlatSymbolRefAttr weight = concatenate(linears, weightOf, fused + ".weight", order, headDim), bias;
    if (first.getBias())
      bias = concatenate(linears, biasOf, fused + ".bias", order, headDim);

    OpBuilder builder(first);
    SmallVector<Type> types;
    for (LinearOp linear : linears)
      types.push_back(linear.getResult(0).getType());
    auto product = LinearOp::create(builder, NameLoc::get(builder.getStringAttr(fused)), types, first.getInput(),
                                    /*scales=*/Value(), /*squares=*/Value(), weight, bias, StringAttr(), FloatAttr());
    product.emitRemark() << "fused " << linears.size() << " projections: the input is read once";
    for (auto [i, fusedAway] : llvm::enumerate(linears)) {
      LinearOp linear = fusedAway;
      linear.getResult(0).replaceAllUsesWith(product.getResult(i));
      linear.erase();
    }
  }

private:
  ModuleOp module;
  SymbolTable symbols;
  DenseMap<StringAttr, unsigned> uses;

  /// Whether codes mean the same, beside the scales and zero points that each weight has of its own.
  static bool areQuantizedAlike(WeightOp a, WeightOp b) {
    QuantizedAttr first = a.getQuantizedAttr(), second = b.getQuantizedAttr();
    if (!first || !second || !first.getZeroPoints() != !second.getZeroPoints() ||
        !first.getActivationScale() != !second.getActivationScale())
      return first == second;
    return first.withSymbols(second.getScales(), second.getZeroPoints(), second.getActivationScale()) == second;
  }

  std::string refusal(ArrayRef<LinearOp> linears) {
    LinearOp first = linears.front();
    auto weightOf = [&](LinearOp linear) { return symbols.lookup<WeightOp>(linear.getWeight()); };
    auto typeOf = [&](LinearOp linear) { return weightOf(linear).getTensorType(); };
    for (LinearOp linear : linears) {
      if (linear.getInput() != first.getInput())
        return "'" + getCheckpointName(linear).str() + "' reads another value";
      if (uses.lookup(linear.getWeightAttr().getAttr()) != 1)
        return "'" + linear.getWeight().str() + "' is used elsewhere";
      if (typeOf(linear).getElementType() != typeOf(first).getElementType())
        return "element types of weights differ";
      if (linear.getBias().has_value() != first.getBias().has_value())
        return "only some have a bias";
      if (linear.getBias() && uses.lookup(linear.getBiasAttr().getAttr()) != 1)
        return "'" + linear.getBias()->str() + "' is used elsewhere";
      if (weightOf(linear).getRowOrder() != RowOrder::Plain || weightOf(linear).getPacking() != Packing::RowMajor)
        return "'" + linear.getWeight().str() + "' is stored in another order already";
      if (!areQuantizedAlike(weightOf(linear), weightOf(first)))
        return "weights are quantized in different ways";
      if (weightOf(linear).getValue().has_value() != weightOf(first).getValue().has_value())
        return "only some weights hold a value";
    }
    return "";
  }

  /// The weight that stacks those of `linears`; theirs are erased.
  FlatSymbolRefAttr concatenate(ArrayRef<LinearOp> linears, function_ref<WeightOp(LinearOp)> weightOf,
                                const std::string &name, RowOrder order, std::optional<int64_t> headDim) {
    WeightOp first = weightOf(linears.front());
    OpBuilder builder(first);
    SmallVector<Attribute> sources, values;
    SmallVector<int64_t> shape(first.getTensorType().getShape());
    shape[0] = 0;
    bool isInline = first.getValue().has_value();
    for (LinearOp linear : linears) {
      WeightOp weight = weightOf(linear);
      shape[0] += weight.getTensorType().getDimSize(0);
      if (isInline)
        llvm::append_range(values, weight.getValue()->getValues<Attribute>());
      else
        llvm::append_range(sources, weight.getSources()->getValue());
    }
    auto type = first.getTensorType().clone(shape);
    auto fused = WeightOp::create(
        builder, first.getLoc(), builder.getStringAttr(name), TypeAttr::get(type),
        isInline ? ArrayAttr() : builder.getArrayAttr(sources), RowOrderAttr::get(builder.getContext(), order),
        PackingAttr::get(builder.getContext(), Packing::RowMajor),
        headDim ? builder.getI64IntegerAttr(*headDim) : IntegerAttr(),
        isInline ? cast<ElementsAttr>(DenseElementsAttr::get(type, values)) : ElementsAttr(), QuantizedAttr());
    // Scales and zero points are stacked as the codes are.
    if (QuantizedAttr quantized = first.getQuantizedAttr()) {
      auto stack = [&](auto symbolOf, StringRef suffix, RowOrder rowOrder) {
        return concatenate(
            linears,
            [&](LinearOp linear) {
              return symbols.lookup<WeightOp>(symbolOf(weightOf(linear).getQuantizedAttr()).getValue());
            },
            name + suffix.str(), rowOrder, rowOrder == order ? headDim : std::nullopt);
      };
      FlatSymbolRefAttr zeroPoints, activationScale;
      FlatSymbolRefAttr scales = stack([](QuantizedAttr of) { return of.getScales(); }, "_scale", order);
      if (quantized.getZeroPoints())
        zeroPoints = stack([](QuantizedAttr of) { return of.getZeroPoints(); }, "_zero_point", order);
      // One for each projection, of which the largest holds.
      if (quantized.getActivationScale())
        activationScale =
            stack([](QuantizedAttr of) { return of.getActivationScale(); }, "_input_scale", RowOrder::Plain);
      fused.setQuantizedAttr(quantized.withSymbols(scales, zeroPoints, activationScale));
    }
    for (LinearOp linear : linears)
      symbols.erase(weightOf(linear));
    return FlatSymbolRefAttr::get(symbols.insert(fused));
  }
};

struct FuseProjectionsPass : inlay::impl::FuseProjectionsPassBase<FuseProjectionsPass> {
  using FuseProjectionsPassBase::FuseProjectionsPassBase;

  void runOnOperation() override {
    ProjectionFuser fuser(getOperation());
    getOperation().walk([&](PagedAttentionOp attention) { fuseAttention(attention, fuser); });
    SmallVector<GatedActivationOp> gated;
    getOperation().walk([&](GatedActivationOp op) { gated.push_back(op); });
    for (GatedActivationOp op : gated) {
      auto gate = op.getGate().getDefiningOp<LinearOp>(), up = op.getUp().getDefiningOp<LinearOp>();
      if (gate && up && gate != up)
        fuser.fuse({gate, up}, "gate_up_proj", RowOrder::Alternate, std::nullopt);
    }
  }

private:
  /// What makes queries, keys or values.
  struct Projection {
    LinearOp linear;
    RopeOp rope; // the last one, if there are several
    bool isNormed = false;
  };

  /// Walks back from `value` over rotations and norms.
  static Projection projectionBehind(Value value) {
    Projection result;
    while (Operation *op = value.getDefiningOp()) {
      if (auto linear = dyn_cast<LinearOp>(op)) {
        result.linear = linear;
        break;
      }
      auto rope = dyn_cast<RopeOp>(op);
      if (!rope && !isa<NormInterface, RmsScaleOp>(op))
        break;
      if (rope && !result.rope)
        result.rope = rope;
      result.isNormed |= !rope;
      value = op->getOperand(0);
    }
    return result;
  }

  void fuseAttention(PagedAttentionOp attention, ProjectionFuser &fuser) {
    auto append = attention.getCache().getDefiningOp<KvAppendOp>();
    if (!append)
      return;
    Projection q = projectionBehind(attention.getQuery()), k = projectionBehind(append.getKey()),
               v = projectionBehind(append.getValue());
    for (const Projection &each : {q, k, v})
      if (!each.linear || each.linear->getNumResults() != 1)
        return;
    bool isNormed = q.isNormed || k.isNormed || v.isNormed;
    int64_t headDim = append.getHeadDim();
    bool isRotated = q.rope && k.rope && !v.rope && q.rope.getTableAttr() == k.rope.getTableAttr() &&
                     q.rope.getRotaryDim() == headDim;
    bool inPairs = isRotated && !isNormed && headDim % tileColumns == 0;
    fuser.fuse({q.linear, k.linear, v.linear}, "qkv_proj", inPairs ? RowOrder::HalfPairs : RowOrder::Plain,
               inPairs ? std::optional<int64_t>(headDim) : std::nullopt);
  }
};

} // namespace
