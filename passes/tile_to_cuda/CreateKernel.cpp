//===- CreateKernel.cpp - the kernel of a tile program ---------------------===//

#include "passes/tile_to_cuda/CreateKernel.h"

#include "dialects/tile/UniquePrograms.h"
#include "mlir/IR/AffineExpr.h"

using namespace mlir;
using namespace inlay;

std::optional<cuda::Count> inlay::countOf(AffineExpr expr) {
  cuda::Count count;
  if (auto constant = dyn_cast<AffineConstantExpr>(expr)) {
    count.multiplier = constant.getValue();
    return count;
  }
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr)) {
    count.size = symbol.getPosition();
    return count;
  }
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return std::nullopt;
  auto constant = dyn_cast<AffineConstantExpr>(binary.getRHS());
  std::optional<cuda::Count> inner = countOf(binary.getLHS());
  if (!constant || !inner || constant.getValue() <= 0)
    return std::nullopt;
  if (expr.getKind() == AffineExprKind::Mul) {
    inner->multiplier *= constant.getValue();
    return inner;
  }
  if (expr.getKind() == AffineExprKind::CeilDiv && inner->divisor == 1 && inner->multiplier == 1) {
    inner->divisor = constant.getValue();
    return inner;
  }
  return std::nullopt;
}

FailureOr<cuda::GridAttr> inlay::gridOf(tile::ProgramOp program) {
  SmallVector<cuda::Count> grid;
  for (AffineExpr expr : program.getGrid().getResults()) {
    std::optional<cuda::Count> count = countOf(expr);
    if (!count)
      return program.emitError("grid dimension ") << grid.size() << " is neither a constant nor c * (size ceildiv d)";
    grid.push_back(*count);
  }
  grid[0].multiplier *= tile::clusterOf(program);
  return cuda::GridAttr::getChecked([&] { return program.emitError(); }, program.getContext(), ArrayRef(grid));
}

FailureOr<cuda::KernelOp> inlay::createKernel(tile::ProgramOp program, OpBuilder &builder, int64_t threads,
                                              unsigned maps) {
  FailureOr<cuda::GridAttr> grid = gridOf(program);
  if (failed(grid))
    return failure();
  MLIRContext *context = program.getContext();
  SmallVector<Type> types;
  SmallVector<Attribute> attributes;
  auto name = [&](StringRef text, std::optional<cuda::Provenance> provenance = {}) {
    SmallVector<NamedAttribute> ofArgument{builder.getNamedAttr(cuda::kNameAttr, builder.getStringAttr(text))};
    if (provenance)
      ofArgument.push_back(
          builder.getNamedAttr(cuda::kProvenanceAttr, cuda::ProvenanceAttr::get(context, *provenance)));
    attributes.push_back(builder.getDictionaryAttr(ofArgument));
  };
  tile::ReceiveSumOp sum = tile::ReceiveSumOp::of(program);
  for (auto [i, type] : llvm::enumerate(program.getArgumentTypes())) {
    auto view = cast<tile::ViewType>(type);
    bool isReadonly =
        view.getProvenance() == tile::Provenance::Weight || view.getProvenance() == tile::Provenance::Meta;
    // Two codes of 4 bits are a byte.
    Type element = view.getElementType().isInteger(4) ? builder.getI8Type() : view.getElementType();
    types.push_back(cuda::PtrType::get(context, element, isReadonly ? cuda::Space::Readonly : cuda::Space::Global));
    auto given = program.getArgAttrOfType<StringAttr>(i, "tile.name");
    StringRef provenance = tile::stringifyProvenance(view.getProvenance());
    bool isPushed = sum && sum.getEarly() && sum.getView() == program.getArgument(i);
    name(given ? given.getValue().str() : (provenance + std::to_string(i)).str(),
         isPushed ? cuda::Provenance::Pushed : cuda::symbolizeProvenance(provenance));
  }
  for (unsigned i = 0; i < maps; ++i) {
    types.push_back(cuda::OpaqueType::get(context, "CUtensorMap"));
    name("map" + std::to_string(i));
  }
  types.push_back(cuda::OpaqueType::get(context, cuda::kStepSizes));
  name("sizes");
  if (tile::CollectiveOp::of(program) || sum || tile::StoreOp::pushOf(program)) {
    types.push_back(cuda::PtrType::get(context, cuda::OpaqueType::get(context, "PeerTable"), cuda::Space::Global));
    name("peers", cuda::Provenance::Peer);
  }

  OperationState state(program.getLoc(), cuda::KernelOp::getOperationName());
  auto origin = program->getAttrOfType<StringAttr>(tile::kOriginAttr);
  cuda::KernelOp kernel = cuda::KernelOp::create(
      builder, program.getLoc(), builder.getStringAttr(program.getSymName()),
      TypeAttr::get(builder.getFunctionType(types, {})), builder.getI64IntegerAttr(threads),
      builder.getI64IntegerAttr(1), builder.getI64IntegerAttr(tile::clusterOf(program)), builder.getI64IntegerAttr(0),
      origin ? origin : builder.getStringAttr(""), *grid, ArrayAttr(), builder.getUnitAttr(),
      tile::StoreOp::pushOf(program) ? builder.getUnitAttr() : UnitAttr(), builder.getArrayAttr(attributes),
      ArrayAttr());
  if (auto of = program->getAttrOfType<StringAttr>(kEpilogueOfAttr))
    kernel->setAttr(kEpilogueOfAttr, of);
  Block *body = &kernel.getBody().emplaceBlock();
  for (Type type : types)
    body->addArgument(type, program.getLoc());
  cuda::KernelOp::ensureTerminator(kernel.getBody(), builder, program.getLoc());
  return kernel;
}

void inlay::setTensorMaps(cuda::KernelOp kernel, ArrayRef<cuda::TensorMapAttr> maps) {
  kernel.setTensorMapsAttr(ArrayAttr::get(kernel.getContext(), SmallVector<Attribute>(maps.begin(), maps.end())));
  // The maps stand behind the pointers and before the step's sizes.
  auto types = kernel.getArgumentTypes();
  unsigned first = llvm::find_if(types, cuda::isTensorMap) - types.begin();
  for (auto [i, map] : llvm::enumerate(maps))
    if (Attribute provenance = kernel.getArgAttr(map.getArgument(), cuda::kProvenanceAttr))
      kernel.setArgAttr(first + i, cuda::kProvenanceAttr, provenance);
}
