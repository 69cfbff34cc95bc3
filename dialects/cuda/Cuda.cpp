//===- Cuda.cpp - syntax and verifiers of the cuda dialect -----------------===//

#include "dialects/cuda/Cuda.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/Interfaces/FunctionImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace inlay::cuda;

#include "dialects/cuda/CudaDialect.cpp.inc"
#include "dialects/cuda/CudaEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/cuda/CudaAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/cuda/CudaTypes.cpp.inc"

void CudaDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/cuda/CudaAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/cuda/CudaTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/cuda/CudaOps.cpp.inc"
      >();
}

bool inlay::cuda::isScalarOrVector(Type type) {
  if (auto vector = dyn_cast<VectorType>(type)) {
    Type element = vector.getElementType();
    return vector.getRank() == 1 && (element.isInteger(32) || element.isF32()) &&
           (vector.getNumElements() == 2 || vector.getNumElements() == 4);
  }
  return type.isIntOrIndexOrFloat();
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

Type PtrType::parse(AsmParser &parser) {
  Type elementType;
  StringRef keyword;
  if (parser.parseLess() || parser.parseType(elementType) || parser.parseComma())
    return {};
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&keyword) || parser.parseGreater())
    return {};
  std::optional<Space> space = symbolizeSpace(keyword);
  if (!space) {
    parser.emitError(loc) << "'" << keyword << "' is not a memory space, expected global, readonly, shared or local";
    return {};
  }
  return PtrType::get(parser.getContext(), elementType, *space);
}

void PtrType::print(AsmPrinter &printer) const {
  printer << "<" << getElementType() << ", " << stringifySpace(getSpace()) << ">";
}

Type LocalType::parse(AsmParser &parser) {
  SmallVector<int64_t> shape;
  Type elementType;
  if (parser.parseLess() || parser.parseDimensionList(shape, /*allowDynamic=*/false) || parser.parseType(elementType) ||
      parser.parseGreater())
    return {};
  return parser.getChecked<LocalType>(parser.getContext(), shape, elementType);
}

void LocalType::print(AsmPrinter &printer) const {
  printer << "<";
  for (int64_t size : getShape())
    printer << size << "x";
  printer << getElementType() << ">";
}

LogicalResult LocalType::verify(function_ref<InFlightDiagnostic()> emitError, ArrayRef<int64_t> shape, Type) {
  for (int64_t size : shape)
    if (size <= 0)
      return emitError() << "an array's sizes are positive, found " << size;
  return success();
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

bool inlay::cuda::isTensorMap(Type type) {
  auto opaque = dyn_cast<OpaqueType>(type);
  return opaque && opaque.getName() == "CUtensorMap";
}

/// Checks that each CUtensorMap has a description, and that it refers to an argument that is a pointer to its elements.
static LogicalResult verifyTensorMaps(KernelOp kernel, ArrayRef<Attribute> maps) {
  auto expected = static_cast<size_t>(llvm::count_if(kernel.getArgumentTypes(), isTensorMap));
  if (maps.size() != expected)
    return kernel.emitOpError() << "describes " << maps.size() << " tensor maps, expected " << expected
                                << ", one for each argument of type CUtensorMap";
  for (auto [i, attribute] : llvm::enumerate(maps)) {
    auto map = cast<TensorMapAttr>(attribute);
    auto pointer = map.getArgument() < kernel.getNumArguments()
                       ? dyn_cast<PtrType>(kernel.getArgumentTypes()[map.getArgument()])
                       : PtrType();
    // Codes, their scales, and what a kernel only reads beside them, may be described as elements of 16 bits.
    Type element = pointer ? pointer.getElementType() : Type();
    bool isSame =
        pointer && (element == map.getElementType() ||
                    (map.getElementType().isBF16() && (pointer.getSpace() == Space::Readonly ||
                                                       element.getIntOrFloatBitWidth() == 8 || element.isF32())));
    if (!isSame)
      return kernel.emitOpError() << "tensor map " << i << " refers to argument " << map.getArgument()
                                  << ", expected a pointer to " << map.getElementType();
  }
  return success();
}

ParseResult KernelOp::parse(OpAsmParser &parser, OperationState &result) {
  StringAttr name;
  SmallVector<OpAsmParser::Argument> arguments;
  if (parser.parseSymbolName(name, SymbolTable::getSymbolAttrName(), result.attributes) ||
      parser.parseArgumentList(arguments, OpAsmParser::Delimiter::Paren, /*allowType=*/true, /*allowAttrs=*/true) ||
      parser.parseOptionalAttrDictWithKeyword(result.attributes))
    return failure();
  SmallVector<Type> types;
  for (OpAsmParser::Argument &argument : arguments)
    types.push_back(argument.type);
  Builder &builder = parser.getBuilder();
  result.addAttribute(getFunctionTypeAttrName(result.name), TypeAttr::get(builder.getFunctionType(types, {})));
  call_interface_impl::addArgAndResultAttrs(builder, result, arguments, /*resultAttrs=*/{},
                                            getArgAttrsAttrName(result.name), getResAttrsAttrName(result.name));
  Region *body = result.addRegion();
  if (parser.parseRegion(*body, arguments))
    return failure();
  ensureTerminator(*body, builder, result.location);
  return success();
}

void KernelOp::print(OpAsmPrinter &printer) {
  printer << ' ';
  printer.printSymbolName(getSymName());
  printer << '(';
  llvm::interleaveComma(llvm::enumerate(getBody().getArguments()), printer, [&](auto it) {
    DictionaryAttr attrs = function_interface_impl::getArgAttrDict(*this, it.index());
    printer.printRegionArgument(it.value(), attrs ? attrs.getValue() : ArrayRef<NamedAttribute>());
  });
  printer << ')';
  printer.printOptionalAttrDictWithKeyword(
      (*this)->getAttrs(),
      {SymbolTable::getSymbolAttrName(), getFunctionTypeAttrName(), getArgAttrsAttrName(), getResAttrsAttrName()});
  printer << ' ';
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false, /*printBlockTerminators=*/false);
}

std::string inlay::cuda::describe(KernelOp kernel) {
  return kernel.getOrigin().empty() ? kernel.getSymName().str()
                                    : (kernel.getSymName() + " (" + kernel.getOrigin() + ")").str();
}

LogicalResult KernelOp::verify() {
  if (getThreads() < 32 || getThreads() > 1024 || getThreads() % 32 != 0)
    return emitOpError() << "has " << getThreads() << " threads, expected a multiple of 32 up to 1024";
  if (getCluster() < 1 || (getCluster() > 8 && getCluster() != 16))
    return emitOpError() << "has clusters of " << getCluster() << " blocks, expected 1 to 8, or 16";
  if (auto bytes = static_cast<int64_t>(getSharedBytes()); bytes < 0)
    return emitOpError() << "has " << bytes << " bytes of shared memory, expected 0 or more";
  if (GridAttr grid = getGridAttr(); grid && grid.getDims().front().multiplier % getCluster() != 0)
    return emitOpError() << "has " << grid.getDims().front().multiplier
                         << " blocks along x, or a multiple of them, expected a multiple of the cluster size "
                         << getCluster();
  if (ArrayAttr maps = getTensorMapsAttr(); maps && failed(verifyTensorMaps(*this, maps.getValue())))
    return failure();
  for (auto [i, type] : llvm::enumerate(getArgumentTypes())) {
    if (Attribute given = getArgAttr(i, kProvenanceAttr)) {
      auto provenance = dyn_cast<ProvenanceAttr>(given);
      if (!provenance)
        return emitOpError() << "argument " << i << " has the provenance " << given
                             << ", expected #cuda.provenance<...>";
      // The C++ compiler may move loads of readonly memory before cuda.depend.
      if (auto pointer = dyn_cast<PtrType>(type);
          pointer && pointer.getSpace() == Space::Readonly && !isReadableEarly(provenance.getValue()))
        return emitOpError() << "argument " << i << " is readonly and of provenance "
                             << stringifyProvenance(provenance.getValue()) << ", which earlier launches may write";
    }
    if (auto pointer = dyn_cast<PtrType>(type); pointer && pointer.getSpace() > Space::Readonly)
      return emitOpError() << "argument " << i << " points into " << stringifySpace(pointer.getSpace())
                           << " memory, expected global or readonly";
    if (!isa<PtrType, OpaqueType>(type) && !isScalarOrVector(type))
      return emitOpError() << "argument " << i << " is a " << type << ", expected a pointer, an opaque or a scalar";
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

static int64_t bitsOf(Type type) {
  if (auto vector = dyn_cast<VectorType>(type))
    return vector.getNumElements() * vector.getElementTypeBitWidth();
  return type.isIntOrFloat() ? type.getIntOrFloatBitWidth() : 0;
}

LogicalResult SharedBufferOp::verify() {
  if (getResult().getType().getSpace() != Space::Shared)
    return emitOpError() << "gives a " << getResult().getType() << ", expected a pointer to shared memory";
  int64_t element = std::max<int64_t>(1, bitsOf(getResult().getType().getElementType()) / 8);
  if (!llvm::isPowerOf2_64(getAlignment()) || getAlignment() % element != 0)
    return emitOpError() << "is aligned to " << getAlignment() << " bytes, expected a power of two and a multiple of "
                         << "the element's " << element << " bytes";
  return success();
}

LogicalResult SharedOp::verify() {
  if (getResult().getType().getSpace() != Space::Shared)
    return emitOpError() << "gives a " << getResult().getType() << ", expected a pointer to shared memory";
  if (int64_t bytes = bitsOf(getResult().getType().getElementType()) / 8; bytes && getOffset() % bytes != 0)
    return emitOpError() << "has offset " << getOffset() << ", expected a multiple of the element's " << bytes
                         << " bytes";
  return success();
}

LogicalResult CastOp::verify() {
  if (getBase().getType().getSpace() != getResult().getType().getSpace())
    return emitOpError() << "casts from " << stringifySpace(getBase().getType().getSpace()) << " to "
                         << stringifySpace(getResult().getType().getSpace()) << " memory, expected the same space";
  return success();
}

/// Checks that an access loads or stores an element of the pointer, or a vector that covers whole elements.
static LogicalResult verifyAccess(Operation *op, Type value, PtrType pointer, Cache cache) {
  Type element = pointer.getElementType();
  if (value != element && !(isa<VectorType>(value) && bitsOf(element) && bitsOf(value) % bitsOf(element) == 0))
    return op->emitOpError() << "accesses a " << value << " through a pointer to " << element;
  if (cache != Cache::Default && pointer.getSpace() > Space::Readonly)
    return op->emitOpError() << "has a cache hint for " << stringifySpace(pointer.getSpace()) << " memory";
  return success();
}

LogicalResult LoadOp::verify() { return verifyAccess(*this, getResult().getType(), getBase().getType(), getCache()); }

LogicalResult StoreOp::verify() {
  if (getBase().getType().getSpace() == Space::Readonly)
    return emitOpError() << "writes through a readonly pointer";
  return verifyAccess(*this, getValue().getType(), getBase().getType(), Cache::Default);
}

//===----------------------------------------------------------------------===//
// Variables
//===----------------------------------------------------------------------===//

LogicalResult LocalOp::verify() {
  if (getFill() && getFill().getType() != getResult().getType().getElementType())
    return emitOpError() << "fills " << getResult().getType() << " with a " << getFill().getType();
  return success();
}

static LogicalResult verifyElement(Operation *op, LocalType variable, size_t indices, Type value) {
  if (indices != variable.getShape().size())
    return op->emitOpError() << "has " << indices << " indices for " << variable;
  if (value != variable.getElementType())
    return op->emitOpError() << "accesses a " << value << " of " << variable;
  return success();
}

LogicalResult GetOp::verify() {
  return verifyElement(*this, getVariable().getType(), getIndices().size(), getResult().getType());
}

LogicalResult SetOp::verify() {
  return verifyElement(*this, getVariable().getType(), getIndices().size(), getValue().getType());
}

LogicalResult AddressOp::verify() {
  if (getIndices().size() > getVariable().getType().getShape().size())
    return emitOpError() << "has " << getIndices().size() << " indices for " << getVariable().getType();
  if (getResult().getType() != PtrType::get(getContext(), getVariable().getType().getElementType(), Space::Local))
    return emitOpError() << "of " << getVariable().getType() << " has the result type " << getResult().getType();
  return success();
}

//===----------------------------------------------------------------------===//
// Synchronisation and calls
//===----------------------------------------------------------------------===//

LogicalResult BarrierOp::verify() {
  if (getThreads() && (*getThreads() <= 0 || *getThreads() % 32 != 0))
    return emitOpError() << "of " << *getThreads() << " threads, expected a multiple of 32";
  return success();
}

LogicalResult CallOp::verify() {
  if (getCallee().empty() || getHeader().empty())
    return emitOpError() << "needs a callee and the header that declares it";
  return success();
}

#define GET_OP_CLASSES
#include "dialects/cuda/CudaOps.cpp.inc"
