//===- PrintCuda.cpp - the cuda dialect as CUDA C++ ------------------------===//

#include "codegen/emit/PrintCuda.h"

#include "codegen/emit/CudaPrinter.h"
#include "llvm/ADT/TypeSwitch.h"

#include <set>

using namespace mlir;
using namespace inlay;
using namespace inlay::cuda;

//===----------------------------------------------------------------------===//
// Types and names
//===----------------------------------------------------------------------===//

FailureOr<std::string> CudaPrinter::typeName(Type type, Location loc) {
  if (type.isIndex() || type.isInteger(32))
    return std::string("int");
  if (type.isInteger(1))
    return std::string("bool");
  if (type.isInteger(8))
    return std::string("signed char");
  if (type.isInteger(16))
    return std::string("short");
  if (type.isInteger(64))
    return std::string("long long");
  if (type.isF32())
    return std::string("float");
  if (type.isF64())
    return std::string("double");
  if (type.isBF16())
    return std::string("bfloat16");
  if (type.isF16())
    return std::string("float16");
  if (isa<Float8E4M3FNType>(type))
    return std::string("e4m3");
  if (isa<VectorType>(type) && isScalarOrVector(type)) {
    auto vector = cast<VectorType>(type);
    return (vector.getElementType().isF32() ? "float" : "uint") + std::to_string(vector.getNumElements());
  }
  if (auto opaque = dyn_cast<cuda::OpaqueType>(type))
    return opaque.getName().str();
  if (auto pointer = dyn_cast<PtrType>(type)) {
    FailureOr<std::string> element = typeName(pointer.getElementType(), loc);
    if (failed(element))
      return failure();
    return pointer.getSpace() == Space::Readonly ? "const " + *element + " *__restrict__" : *element + " *";
  }
  return emitError(loc) << "type " << type << " has no CUDA C++ form";
}

FailureOr<std::string> CudaPrinter::unsignedTypeName(Type type, Location loc) {
  FailureOr<std::string> name = typeName(type, loc);
  if (failed(name) || *name == "bool")
    return name;
  return "unsigned " + (*name == "signed char" ? "char" : *name);
}

/// Makes an identifier from `wanted` that is unique in the kernel.
std::string CudaPrinter::unique(StringRef wanted) {
  std::string base;
  for (char c : wanted)
    base += llvm::isAlnum(c) ? c : '_';
  if (base.empty() || llvm::isDigit(base[0]))
    base = "v" + base;
  std::string name = base;
  for (unsigned i = 1; !taken.insert(name).second; ++i)
    name = base + (llvm::isDigit(base.back()) ? "_" : "") + std::to_string(i);
  return name;
}

std::string CudaPrinter::nameFor(Operation *op, StringRef fallback) {
  if (auto name = op->getLoc()->findInstanceOf<NameLoc>())
    return unique(name.getName().strref());
  return unique(fallback);
}

/// Begins a line of text. A #line directive comes before the first line of a statement that has a location.
llvm::raw_ostream &CudaPrinter::line() {
  if (place)
    os << "#line " << place.getLine() << " \"" << place.getFilename().strref() << "\"\n";
  place = FileLineColLoc();
  return os.indent(2 * indent);
}

std::string CudaPrinter::operand(Value value) {
  const Expression &expression = values.find(value)->second;
  return expression.atomic ? expression.text : "(" + expression.text + ")";
}

//===----------------------------------------------------------------------===//
// Statements
//===----------------------------------------------------------------------===//

LogicalResult CudaPrinter::declare(Operation *op, Value value, const Expression &expression) {
  FailureOr<std::string> type = typeName(value.getType(), op->getLoc());
  if (failed(type))
    return failure();
  StringRef fallback = isa<SpecialOp>(op)                            ? stringifySpecial(cast<SpecialOp>(op).getWhich())
                       : isa<SharedOp>(op)                           ? StringRef("tile")
                       : isa<PtrType>(value.getType())               ? StringRef("p")
                       : value.getType().isInteger(1)                ? StringRef("is")
                       : isa<FloatType, VectorType>(value.getType()) ? StringRef("x")
                                                                     : StringRef("n");
  std::string name = nameFor(op, fallback);
  bool isPointer = isa<PtrType>(value.getType());
  line() << (isPointer ? "" : "const ") << *type << (type->back() == '*' ? "" : " ") << name << " = " << expression.text
         << ";\n";
  values[value] = {name, true};
  return success();
}

/// Declares a variable for each result of a structured operation.
LogicalResult CudaPrinter::declareResults(Operation *op, ValueRange initial) {
  for (auto [i, result] : llvm::enumerate(op->getResults())) {
    FailureOr<std::string> type = typeName(result.getType(), op->getLoc());
    if (failed(type))
      return failure();
    std::string name = nameFor(op, "carried");
    line() << *type << " " << name;
    if (!initial.empty())
      os << " = " << whole(initial[i]);
    os << ";\n";
    values[result] = {name, true};
  }
  return success();
}

/// Assigns all sources at once. Several sources go through temporaries, because a source may read another target.
LogicalResult CudaPrinter::assign(ValueRange targets, ValueRange sources) {
  SmallVector<std::string> texts;
  for (auto [target, source] : llvm::zip_equal(targets, sources)) {
    texts.push_back(whole(source));
    if (targets.size() > 1 && !source.getDefiningOp<arith::ConstantOp>()) {
      FailureOr<std::string> type = typeName(source.getType(), source.getLoc());
      if (failed(type))
        return failure();
      std::string name = unique("next");
      line() << "const " << *type << " " << name << " = " << texts.back() << ";\n";
      texts.back() = name;
    }
  }
  for (auto [target, text] : llvm::zip_equal(targets, texts))
    if (whole(target) != text)
      line() << whole(target) << " = " << text << ";\n";
  return success();
}

LogicalResult CudaPrinter::forOp(scf::ForOp op) {
  if (failed(declareResults(op, op.getInitArgs())))
    return failure();
  for (auto [result, argument] : llvm::zip_equal(op.getResults(), op.getRegionIterArgs()))
    values[argument] = values[result];
  if (auto count = op->getAttrOfType<IntegerAttr>(kUnrollAttr))
    line() << "#pragma unroll " << count.getInt() << "\n";
  else if (op->hasAttr(kUnrollAttr))
    line() << "#pragma unroll\n";
  FailureOr<std::string> type = typeName(op.getInductionVar().getType(), op.getLoc());
  if (failed(type))
    return failure();
  std::string name = nameFor(op, "i");
  values[op.getInductionVar()] = {name, true};
  std::string step = whole(op.getStep());
  line() << "for (" << *type << " " << name << " = " << whole(op.getLowerBound()) << "; " << name << " < "
         << operand(op.getUpperBound()) << "; " << (step == "1" ? "++" + name : name + " += " + step) << ") {\n";
  ++indent;
  if (failed(block(*op.getBody())) ||
      failed(assign(op.getRegionIterArgs(), op.getBody()->getTerminator()->getOperands())))
    return failure();
  --indent;
  line() << "}\n";
  return success();
}

LogicalResult CudaPrinter::ifOp(scf::IfOp op) {
  if (failed(declareResults(op, {})))
    return failure();
  line() << "if (" << whole(op.getCondition()) << ") {\n";
  ++indent;
  if (failed(block(op.getThenRegion().front())) || failed(assign(op.getResults(), op.thenYield().getOperands())))
    return failure();
  --indent;
  if (!op.getElseRegion().empty() &&
      !(op.getElseRegion().front().without_terminator().empty() && op->getNumResults() == 0)) {
    line() << "} else {\n";
    ++indent;
    if (failed(block(op.getElseRegion().front())) || failed(assign(op.getResults(), op.elseYield().getOperands())))
      return failure();
    --indent;
  }
  line() << "}\n";
  return success();
}

LogicalResult CudaPrinter::whileOp(scf::WhileOp op) {
  for (auto [argument, initial] : llvm::zip_equal(op.getBeforeArguments(), op.getInits())) {
    FailureOr<std::string> type = typeName(argument.getType(), op.getLoc());
    if (failed(type))
      return failure();
    std::string name = nameFor(op, "carried");
    line() << *type << " " << name << " = " << whole(initial) << ";\n";
    values[argument] = {name, true};
  }
  if (failed(declareResults(op, {})))
    return failure();
  for (auto [result, argument] : llvm::zip_equal(op.getResults(), op.getAfterArguments()))
    values[argument] = values[result];
  line() << "while (true) {\n";
  ++indent;
  if (failed(block(*op.getBeforeBody())))
    return failure();
  scf::ConditionOp condition = op.getConditionOp();
  if (failed(assign(op.getResults(), condition.getArgs())))
    return failure();
  line() << "if (!" << operand(condition.getCondition()) << ")\n";
  os.indent(2 * (indent + 1)) << "break;\n";
  if (failed(block(*op.getAfterBody())) || failed(assign(op.getBeforeArguments(), op.getYieldOp().getOperands())))
    return failure();
  --indent;
  line() << "}\n";
  return success();
}

LogicalResult CudaPrinter::statement(Operation *op) {
  place = options.lineDirectives ? op->getLoc()->findInstanceOf<FileLineColLoc>() : FileLineColLoc();
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](scf::ForOp loop) { return forOp(loop); })
      .Case([&](scf::IfOp branch) { return ifOp(branch); })
      .Case([&](scf::WhileOp loop) { return whileOp(loop); })
      // The parent operation prints these.
      .Case<scf::YieldOp, scf::ConditionOp, ReturnOp>([](Operation *) { return success(); })
      .Case([&](LocalOp local) -> LogicalResult {
        FailureOr<std::string> type = typeName(local.getType().getElementType(), local.getLoc());
        if (failed(type))
          return failure();
        std::string name = nameFor(local, local.getType().getShape().empty() ? "variable" : "r");
        ArrayRef<int64_t> shape = local.getType().getShape();
        line() << *type << " " << name;
        for (int64_t size : shape)
          os << "[" << size << "]";
        values[local] = {name, true};
        if (!local.getFill()) {
          os << ";\n";
          return success();
        }
        std::string fill = whole(local.getFill());
        if (shape.empty()) {
          os << " = " << fill << ";\n";
          return success();
        }
        if (matchPattern(local.getFill(), m_AnyZeroFloat()) || matchPattern(local.getFill(), m_Zero())) {
          os << " = {};\n";
          return success();
        }
        os << ";\n";
        std::string subscript;
        for (int64_t size : shape) {
          std::string index = unique("i");
          line() << "#pragma unroll\n";
          line() << "for (int " << index << " = 0; " << index << " < " << size << "; ++" << index << ")\n";
          ++indent;
          subscript += "[" + index + "]";
        }
        line() << name << subscript << " = " << fill << ";\n";
        indent -= shape.size();
        return success();
      })
      .Case([&](SetOp set) {
        line() << element(set.getVariable(), set.getIndices()) << " = " << whole(set.getValue()) << ";\n";
        return success();
      })
      .Case([&](StoreOp store) -> LogicalResult {
        FailureOr<Expression> target = access(store, store.getBase(), store.getIndex(), store.getValue().getType(),
                                              /*write=*/true, Cache::Default);
        if (failed(target))
          return failure();
        line() << target->text << " = " << whole(store.getValue()) << ";\n";
        return success();
      })
      .Case([&](BarrierOp barrier) {
        if (barrier.getId())
          line() << "named_barrier(" << *barrier.getId() << ", " << barrier.getThreads().value_or(0) << ");\n";
        else
          line() << "__syncthreads();\n";
        return success();
      })
      .Case([&](SyncWarpOp) {
        line() << "__syncwarp();\n";
        return success();
      })
      .Case([&](DependOp) {
        line() << "depend();\n";
        return success();
      })
      .Case([&](LaunchDependentsOp) {
        line() << "launch_dependents();\n";
        return success();
      })
      .Case([&](CommentOp comment) {
        line() << "// " << comment.getText() << "\n";
        return success();
      })
      .Case([&](CallOp call) -> LogicalResult {
        std::string text = call.getCallee().str() + "(";
        llvm::interleave(call.getInputs(), [&](Value value) { text += whole(value); }, [&] { text += ", "; });
        text += ")";
        if (call.getResult() && !call.getResult().use_empty())
          return declare(call, call.getResult(), {text, true});
        line() << text << ";\n";
        return success();
      })
      .Default([&](Operation *) -> LogicalResult {
        if (op->getNumResults() != 1)
          return op->emitError() << "'" << op->getName().getStringRef() << "' has no CUDA C++ form";
        if (op->use_empty() && isMemoryEffectFree(op))
          return success();
        FailureOr<Expression> text = expression(op);
        if (failed(text))
          return failure();
        bool isName = text->atomic && llvm::all_of(text->text, [](char c) { return llvm::isAlnum(c) || c == '_'; });
        if ((isName && isa<arith::IndexCastOp>(op)) || isInlined(op, text->text)) {
          values[op->getResult(0)] = *text;
          return success();
        }
        return declare(op, op->getResult(0), *text);
      });
}

LogicalResult CudaPrinter::block(Block &block) {
  for (Operation &op : block)
    if (failed(statement(&op)))
      return failure();
  return success();
}

/// The headers of the calls and constructs of a kernel, in alphabetical order.
static std::set<std::string> headersOf(KernelOp kernel) {
  std::set<std::string> headers = {"base.h"};
  kernel.walk([&](Operation *op) {
    if (auto call = dyn_cast<CallOp>(op))
      headers.insert(call.getHeader().str());
    else if (isa<DependOp, LaunchDependentsOp>(op))
      headers.insert("launch.h");
    else if (auto special = dyn_cast<SpecialOp>(op); special && special.getWhich() == Special::ClusterRank)
      headers.insert("warp.h");
    else if (auto load = dyn_cast<LoadOp>(op); load && load.getCache() != Cache::Default)
      headers.insert("cache.h");
  });
  return headers;
}

LogicalResult CudaPrinter::print(KernelOp kernel) {
  if (!kernel.getOrigin().empty())
    os << "// " << kernel.getOrigin() << "\n";
  for (const std::string &header : headersOf(kernel))
    os << "#include \"" << header << "\"\n";
  os << "\nextern \"C\" __global__ void __launch_bounds__(" << kernel.getThreads() << ", " << kernel.getMinBlocks()
     << ")";
  if (kernel.getCluster() > 1)
    os << " __cluster_dims__(" << kernel.getCluster() << ", 1, 1)";
  os << "\n" << kernel.getSymName() << "(";
  for (StringRef word : {"int",
                         "float",
                         "bool",
                         "const",
                         "unsigned",
                         "char",
                         "short",
                         "long",
                         "double",
                         "if",
                         "for",
                         "while",
                         "return",
                         "new",
                         "shared_memory",
                         "depend",
                         "launch_dependents",
                         "pack",
                         "maximum",
                         "minimum",
                         "max",
                         "min",
                         "default",
                         "template",
                         "this"})
    taken.insert(word);
  // No variable may hide a function that the kernel calls.
  taken.insert("cluster_rank");
  for (const auto &function : functionsOfOps())
    taken.insert(function.second);
  kernel.walk([&](CallOp call) { taken.insert(call.getCallee().split('<').first); });
  for (auto [i, argument] : llvm::enumerate(kernel.getBody().getArguments())) {
    FailureOr<std::string> type = typeName(argument.getType(), kernel.getLoc());
    if (failed(type))
      return failure();
    auto wanted = kernel.getArgAttrOfType<StringAttr>(i, kNameAttr);
    std::string name = unique(wanted ? wanted.getValue() : StringRef("arg" + std::to_string(i)));
    values[argument] = {name, true};
    bool isMap = *type == "CUtensorMap";
    os << (i ? ", " : "") << (isMap ? "const __grid_constant__ " : "") << *type
       << (isa<PtrType>(argument.getType()) && type->back() == '*' ? "" : " ") << name;
    if (*type == kStepSizes)
      sizes = name;
  }
  os << ") {\n";
  indent = 1;
  if (kernel.getSharedBytes() > 0)
    line() << "extern __shared__ __align__(1024) unsigned char shared_memory[];\n";
  if (failed(block(kernel.getBody().front())))
    return failure();
  os << "}\n";
  return success();
}

LogicalResult inlay::printCuda(KernelOp kernel, llvm::raw_ostream &os, const PrintCudaOptions &options) {
  return CudaPrinter(os, options).print(kernel);
}
