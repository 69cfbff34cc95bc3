//===- PlanKernels.cpp - the plan's description of a kernel ----------------===//

#include "compiler/pipelines/PlanKernels.h"

#include "compiler/pipelines/PlanTypes.h"
#include "dialects/tile/Collective.h"
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

/// What ranks do with `rows`: by a communicator if there is no kernel, or by a kernel, also with what follows a sum.
static FailureOr<flatbuffers::Offset<plan::Collective>>
buildCollective(flatbuffers::FlatBufferBuilder &fb, const tile::ExchangedRows &rows, const KernelFacts &facts) {
  FailureOr<plan::DataType> type = planTypeOf(rows.op, rows.view.getElementType());
  if (failed(type))
    return failure();
  static_assert(static_cast<int>(tile::CollectiveKind::AllReduce) == plan::CollectiveOp_AllReduce &&
                static_cast<int>(tile::CollectiveKind::AllGather) == plan::CollectiveOp_AllGather);
  flatbuffers::Offset<plan::Code> code, epilogue;
  if (facts.kernel)
    code = buildCode(fb, facts.kernel);
  if (facts.epilogue)
    epilogue = buildCode(fb, facts.epilogue);
  auto sum = dyn_cast<tile::ReceiveSumOp>(rows.op);
  return plan::CreateCollective(
      fb, static_cast<plan::CollectiveOp>(rows.kind), static_cast<plan::Extent>(*rows.view.getExtent()),
      static_cast<uint32_t>(rows.view.getShape()[1]), *type, /*peer=*/0, static_cast<uint32_t>(rows.resultColumns),
      code, static_cast<uint64_t>(rows.bytes), epilogue, sum && sum.getEarly());
}

FailureOr<flatbuffers::Offset<plan::Kernel>> inlay::buildKernel(flatbuffers::FlatBufferBuilder &fb,
                                                                const KernelFacts &facts) {
  FailureOr<std::vector<plan::View>> views = viewsOf(facts.program);
  if (failed(views))
    return failure();
  std::string name = facts.name().str();
  if (auto rows = tile::ExchangedRows::of(facts.program)) {
    FailureOr<flatbuffers::Offset<plan::Collective>> body = buildCollective(fb, *rows, facts);
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
