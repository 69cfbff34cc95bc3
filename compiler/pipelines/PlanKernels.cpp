//===- PlanKernels.cpp - the plan's description of a kernel ----------------===//

#include "compiler/pipelines/PlanKernels.h"

#include "compiler/pipelines/PlanTypes.h"
#include "passes/tile_to_cuda/CreateKernel.h"

using namespace mlir;
using namespace inlay;

static plan::Count planCountOf(const cuda::Count &count) {
  return {count.isConstant() ? plan::Extent_One : static_cast<plan::Extent>(count.size), count.divisor,
          count.multiplier};
}

FailureOr<std::vector<plan::Count>> inlay::buildGrid(const KernelFacts &facts) {
  cuda::KernelOp kernel = facts.kernel;
  FailureOr<cuda::GridAttr> grid = kernel ? FailureOr(kernel.getGridAttr()) : gridOf(facts.program);
  if (failed(grid))
    return failure();
  std::vector<plan::Count> result;
  for (const cuda::Count &count : grid->getDims())
    result.push_back(planCountOf(count));
  return result;
}

/// The largest memory that `program` may access through each of its arguments, as a number of rows and bytes per row.
static FailureOr<std::vector<plan::View>> viewsOf(tile::ProgramOp program) {
  std::vector<plan::View> views;
  for (auto [i, type] : llvm::enumerate(program.getArgumentTypes())) {
    auto view = cast<tile::ViewType>(type);
    DictionaryAttr attributes = function_interface_impl::getArgAttrDict(program, i);
    auto has = [&](StringRef name) { return attributes && attributes.contains(name); };
    SmallVector<int64_t> shape(view.getShape());
    // Packed weights are padded to whole blocks.
    if (auto packing = attributes ? attributes.getAs<StringAttr>(tile::kPackingAttr) : StringAttr()) {
      std::array<int64_t, 2> units = tile::packedUnits(packing.getValue());
      for (auto [size, unit] : llvm::zip(shape, units))
        if (!ShapedType::isDynamic(size))
          size = llvm::alignTo(size, unit);
    }
    uint64_t rowBits = std::max(4U, view.getElementType().getIntOrFloatBitWidth());
    if (rowBits > 4 || shape.size() < 2)
      rowBits = llvm::alignTo(rowBits, 8);
    for (int64_t size : ArrayRef(shape).drop_front())
      rowBits *= size;
    uint64_t rowBytes = rowBits / 8;
    cuda::Count rows;
    if (!ShapedType::isDynamic(shape.front()))
      rowBytes *= shape.front();
    else if (view.getExtent())
      rows.size = static_cast<uint32_t>(*view.getExtent());
    else if (!has("tile.rows"))
      return program.emitError() << "argument " << i << " is a " << type << " without an extent; expected tile.rows";
    else if (auto count = countOf(attributes.getAs<AffineMapAttr>("tile.rows").getAffineMap().getResult(0)))
      rows = *count;
    else
      return program.emitError() << "tile.rows of argument " << i << " is not c * (size ceildiv d)";
    views.emplace_back(planCountOf(rows), rowBytes);
  }
  return views;
}

static FailureOr<plan::Columns> columnsOf(tile::ProgramOp program, const LibraryOperand &operand) {
  FailureOr<plan::DataType> type = planTypeOf(program, operand.elementType);
  if (failed(type))
    return failure();
  return plan::Columns(operand.argument, static_cast<uint32_t>(operand.pitch), static_cast<uint32_t>(operand.column),
                       *type);
}

static FailureOr<flatbuffers::Offset<plan::LibraryProduct>>
buildLibraryProduct(flatbuffers::FlatBufferBuilder &fb, tile::ProgramOp program, const LibraryProduct &product) {
  FailureOr<plan::Columns> input = columnsOf(program, product.input), weight = columnsOf(program, product.weight),
                           output = columnsOf(program, product.output),
                           residual = columnsOf(program, product.residual.value_or(product.output));
  if (failed(input) || failed(weight) || failed(output) || failed(residual))
    return failure();
  return plan::CreateLibraryProductDirect(fb, "cublaslt", static_cast<plan::Extent>(product.rows),
                                          static_cast<uint32_t>(product.columns), static_cast<uint32_t>(product.k),
                                          &*input, &*weight, &*output, product.residual ? &*residual : nullptr);
}

/// `takesPeers`: the address of the rank's PeerTable, which the kernel of a collective always does.
static flatbuffers::Offset<plan::Code> buildCode(flatbuffers::FlatBufferBuilder &fb, cuda::KernelOp kernel,
                                                 bool takesPeers = false) {
  if (!kernel)
    return plan::CreateCode(fb);
  std::vector<uint32_t> block{static_cast<uint32_t>(kernel.getThreads())}, cluster;
  if (kernel.getCluster() > 1)
    cluster.push_back(kernel.getCluster());
  ArrayAttr maps = kernel.getTensorMapsAttr();
  return plan::CreateCodeDirect(fb, &block, &cluster, kernel.getSharedBytes(), kernel.getDependentLaunch(),
                                maps ? maps.size() : 0, takesPeers);
}

/// What ranks do together: `collective`, which a communicator does if there is no kernel, or `sum` and what follows it.
static FailureOr<flatbuffers::Offset<plan::Collective>> buildCollective(flatbuffers::FlatBufferBuilder &fb,
                                                                        tile::CollectiveOp collective,
                                                                        tile::ReceiveSumOp sum,
                                                                        const KernelFacts &facts) {
  tile::ViewType rows = collective ? collective.getInput().getType() : sum.getView().getType();
  FailureOr<plan::DataType> type = planTypeOf(collective ? collective.getOperation() : sum, rows.getElementType());
  if (failed(type))
    return failure();
  static_assert(static_cast<int>(tile::CollectiveKind::AllReduce) == plan::CollectiveOp_AllReduce &&
                static_cast<int>(tile::CollectiveKind::AllGather) == plan::CollectiveOp_AllGather);
  auto kind = collective ? collective.getKind() : tile::CollectiveKind::AllReduce;
  int64_t resultColumns = kind == tile::CollectiveKind::AllGather ? collective.getOutput().getType().getShape()[1] : 0;
  flatbuffers::Offset<plan::Code> code, epilogue;
  int64_t exchangeBytes = 0;
  if (facts.kernel) {
    code = buildCode(fb, facts.kernel);
    exchangeBytes = sum ? sum.getExchangeBytes() : collective.getExchangeBytes(tile::targetOf(collective));
  }
  if (facts.epilogue)
    epilogue = buildCode(fb, facts.epilogue);
  return plan::CreateCollective(fb, static_cast<plan::CollectiveOp>(kind), static_cast<plan::Extent>(*rows.getExtent()),
                                static_cast<uint32_t>(rows.getShape()[1]), *type, /*peer=*/0,
                                static_cast<uint32_t>(resultColumns), code, static_cast<uint64_t>(exchangeBytes),
                                epilogue);
}

FailureOr<flatbuffers::Offset<plan::Kernel>> inlay::buildKernel(flatbuffers::FlatBufferBuilder &fb,
                                                                const KernelFacts &facts) {
  FailureOr<std::vector<plan::View>> views = viewsOf(facts.program);
  if (failed(views))
    return failure();
  std::string name = facts.name().str();
  tile::CollectiveOp collective = tile::CollectiveOp::of(facts.program);
  tile::ReceiveSumOp sum = tile::ReceiveSumOp::of(facts.program);
  if (collective || sum) {
    FailureOr<flatbuffers::Offset<plan::Collective>> body = buildCollective(fb, collective, sum, facts);
    if (failed(body))
      return failure();
    return plan::CreateKernelDirect(fb, name.c_str(), &*views, plan::KernelBody_Collective, body->Union());
  }
  if (!facts.library)
    return plan::CreateKernelDirect(
        fb, name.c_str(), &*views, plan::KernelBody_Code,
        buildCode(fb, facts.kernel, tile::StoreOp::pushOf(facts.program) != nullptr).Union());
  FailureOr<flatbuffers::Offset<plan::LibraryProduct>> product = buildLibraryProduct(fb, facts.program, *facts.library);
  if (failed(product))
    return failure();
  return plan::CreateKernelDirect(fb, name.c_str(), &*views, plan::KernelBody_LibraryProduct, product->Union());
}
