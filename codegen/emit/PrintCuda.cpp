//===- PrintCuda.cpp - the cuda dialect as CUDA C++ ------------------------===//

#include "codegen/emit/PrintCuda.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/Format.h"

#include <set>

using namespace mlir;
using namespace inlay;
using namespace inlay::cuda;

namespace {
/// Whether an operator needs its operands cast to unsigned types.
enum class Signedness { Any, Unsigned };
struct Infix {
  const char *symbol;
  Signedness signedness = Signedness::Any;
};

/// The text of a value.
struct Expression {
  std::string text;
  bool atomic; // needs no parentheses inside another expression
};

/// Expressions with more characters than this are assigned to a variable.
constexpr size_t kLongestInline = 72;
} // namespace

static const llvm::StringMap<Infix> &infixOperators() {
  static const llvm::StringMap<Infix> table = {
      {"arith.addi", {"+"}},
      {"arith.subi", {"-"}},
      {"arith.muli", {"*"}},
      {"arith.divsi", {"/"}},
      {"arith.divui", {"/", Signedness::Unsigned}},
      {"arith.remsi", {"%"}},
      {"arith.remui", {"%", Signedness::Unsigned}},
      {"arith.andi", {"&"}},
      {"arith.ori", {"|"}},
      {"arith.xori", {"^"}},
      {"arith.shli", {"<<"}},
      {"arith.shrsi", {">>"}},
      {"arith.shrui", {">>", Signedness::Unsigned}},
      {"arith.addf", {"+"}},
      {"arith.subf", {"-"}},
      {"arith.mulf", {"*"}},
      {"arith.divf", {"/"}},
  };
  return table;
}

/// Operations that are printed as calls of a function with the same operands.
static const llvm::StringMap<const char *> &functions() {
  static const llvm::StringMap<const char *> table = {
      {"arith.ceildivsi", "ceil_div"},
      {"arith.floordivsi", "floor_div"},
      {"arith.maxsi", "max"},
      {"arith.minsi", "min"},
      {"arith.maximumf", "maximum"},
      {"arith.minimumf", "minimum"},
      {"arith.maxnumf", "fmaxf"},
      {"arith.minnumf", "fminf"},
      {"arith.remf", "fmodf"},
      {"math.absf", "fabsf"},
      {"math.absi", "abs"},
      {"math.ceil", "ceilf"},
      {"math.cos", "cosf"},
      {"math.erf", "erff"},
      {"math.exp", "expf"},
      {"math.exp2", "exp2f"},
      {"math.floor", "floorf"},
      {"math.fma", "fmaf"},
      {"math.log", "logf"},
      {"math.log1p", "log1pf"},
      {"math.log2", "log2f"},
      {"math.powf", "powf"},
      {"math.roundeven", "rintf"},
      {"math.rsqrt", "rsqrtf"},
      {"math.sin", "sinf"},
      {"math.sqrt", "sqrtf"},
      {"math.tanh", "tanhf"},
  };
  return table;
}

/// Types that are stored, and converted to compute with them.
static bool isSmallFloat(Type type) { return type.isBF16() || type.isF16() || isa<Float8E4M3FNType>(type); }

namespace {
class Printer {
public:
  Printer(llvm::raw_ostream &os, const PrintCudaOptions &options) : os(os), options(options) {}
  LogicalResult print(KernelOp kernel);

private:
  FailureOr<std::string> typeName(Type type, Location loc);
  FailureOr<std::string> unsignedTypeName(Type type, Location loc);
  std::string unique(StringRef wanted);
  std::string nameFor(Operation *op, StringRef fallback);
  llvm::raw_ostream &line();
  std::string operand(Value value);
  std::string whole(Value value) { return values.lookup(value).text; }

  FailureOr<Expression> expression(Operation *op);
  FailureOr<Expression> constant(arith::ConstantOp op);
  FailureOr<Expression> conversion(Operation *op);
  FailureOr<Expression> access(Operation *op, Value base, Value index, Type type, bool write, Cache cache);
  std::string element(Value variable, OperandRange indices);
  bool isInlined(Operation *op, StringRef text);

  LogicalResult block(Block &block);
  LogicalResult statement(Operation *op);
  LogicalResult declare(Operation *op, Value value, const Expression &expression);
  LogicalResult declareResults(Operation *op, ValueRange initial);
  LogicalResult assign(ValueRange targets, ValueRange sources);
  LogicalResult forOp(scf::ForOp op);
  LogicalResult ifOp(scf::IfOp op);
  LogicalResult whileOp(scf::WhileOp op);

  llvm::raw_ostream &os;
  const PrintCudaOptions &options;
  llvm::DenseMap<Value, Expression> values;
  llvm::StringSet<> taken;
  std::string sizes;    // name of the parameter of type StepSizes
  FileLineColLoc place; // of the current statement, until its first line is printed; null otherwise
  unsigned indent = 0;
};
} // namespace

//===----------------------------------------------------------------------===//
// Types and names
//===----------------------------------------------------------------------===//

FailureOr<std::string> Printer::typeName(Type type, Location loc) {
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

FailureOr<std::string> Printer::unsignedTypeName(Type type, Location loc) {
  FailureOr<std::string> name = typeName(type, loc);
  if (failed(name) || *name == "bool")
    return name;
  return "unsigned " + (*name == "signed char" ? "char" : *name);
}

/// Makes an identifier from `wanted` that is unique in the kernel.
std::string Printer::unique(StringRef wanted) {
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

std::string Printer::nameFor(Operation *op, StringRef fallback) {
  if (auto name = op->getLoc()->findInstanceOf<NameLoc>())
    return unique(name.getName().strref());
  return unique(fallback);
}

/// Begins a line of text. A #line directive comes before the first line of a statement that has a location.
llvm::raw_ostream &Printer::line() {
  if (place)
    os << "#line " << place.getLine() << " \"" << place.getFilename().strref() << "\"\n";
  place = FileLineColLoc();
  return os.indent(2 * indent);
}

std::string Printer::operand(Value value) {
  const Expression &expression = values.find(value)->second;
  return expression.atomic ? expression.text : "(" + expression.text + ")";
}

//===----------------------------------------------------------------------===//
// Expressions
//===----------------------------------------------------------------------===//

static std::string floatLiteral(const APFloat &value) {
  APFloat single = value;
  bool loses;
  single.convert(APFloat::IEEEsingle(), APFloat::rmNearestTiesToEven, &loses);
  if (single.isNaN() || single.isInfinity())
    return "__int_as_float(0x" + llvm::utohexstr(single.bitcastToAPInt().getZExtValue()) + ")";
  char buffer[40];
  std::snprintf(buffer, sizeof buffer, "%.9g", single.convertToFloat());
  std::string text = buffer;
  if (text.find_first_of(".e") == std::string::npos)
    text += ".0";
  return text + "f";
}

FailureOr<Expression> Printer::constant(arith::ConstantOp op) {
  Type type = op.getType();
  if (auto value = dyn_cast<FloatAttr>(op.getValue())) {
    std::string text = floatLiteral(value.getValue());
    if (type.isF32())
      return Expression{text, text[0] != '-'};
    FailureOr<std::string> name = typeName(type, op.getLoc());
    if (failed(name))
      return failure();
    return Expression{isSmallFloat(type) ? "from_float<" + *name + ">(" + text + ")" : text, true};
  }
  if (auto value = dyn_cast<IntegerAttr>(op.getValue())) {
    if (type.isInteger(1))
      return Expression{value.getValue().isZero() ? "false" : "true", true};
    int64_t number = value.getValue().getSExtValue();
    if (number == std::numeric_limits<int32_t>::min() || number == std::numeric_limits<int64_t>::min())
      return Expression{std::to_string(number + 1) + (type.isInteger(64) ? "ll - 1" : " - 1"), false};
    return Expression{std::to_string(number) + (type.isInteger(64) ? "ll" : ""), number >= 0};
  }
  return op.emitError("constant of type ") << type << " has no CUDA C++ form";
}

static const char *symbolOf(arith::CmpIPredicate predicate, bool &isUnsigned) {
  using P = arith::CmpIPredicate;
  isUnsigned = predicate >= P::ult;
  switch (predicate) {
  case P::eq:
    return "==";
  case P::ne:
    return "!=";
  case P::slt:
  case P::ult:
    return "<";
  case P::sle:
  case P::ule:
    return "<=";
  case P::sgt:
  case P::ugt:
    return ">";
  case P::sge:
  case P::uge:
    return ">=";
  }
  llvm_unreachable("all predicates are handled");
}

/// The operator of a float comparison, and whether its result is negated. Unordered predicates negate the opposite
/// operator: ULT ("a < b or unordered") is `!(a >= b)`.
static std::pair<const char *, bool> symbolOf(arith::CmpFPredicate predicate) {
  using P = arith::CmpFPredicate;
  switch (predicate) {
  case P::OEQ:
    return {"==", false};
  case P::OGT:
    return {">", false};
  case P::OGE:
    return {">=", false};
  case P::OLT:
    return {"<", false};
  case P::OLE:
    return {"<=", false};
  case P::UNE:
    return {"!=", false};
  case P::UGT:
    return {"<=", true};
  case P::UGE:
    return {"<", true};
  case P::ULT:
    return {">=", true};
  case P::ULE:
    return {">", true};
  default:
    return {nullptr, false};
  }
}

/// Casts between integers and floats, and between the floats.
FailureOr<Expression> Printer::conversion(Operation *op) {
  Type from = op->getOperand(0).getType(), to = op->getResult(0).getType();
  FailureOr<std::string> name = typeName(to, op->getLoc());
  if (failed(name))
    return failure();
  std::string text = whole(op->getOperand(0));
  if (isa<arith::BitcastOp>(op)) {
    if (from.isF32() && to.isInteger(32))
      return Expression{"__float_as_int(" + text + ")", true};
    if (from.isInteger(32) && to.isF32())
      return Expression{"__int_as_float(" + text + ")", true};
    return op->emitError("bit cast from ") << from << " to " << to << " has no CUDA C++ form";
  }
  if (isa<arith::ExtUIOp, arith::UIToFPOp, arith::IndexCastUIOp>(op)) {
    FailureOr<std::string> source = unsignedTypeName(from, op->getLoc());
    if (failed(source))
      return failure();
    text = "static_cast<" + *source + ">(" + text + ")";
  }
  if (*name == *typeName(from, op->getLoc()))
    return Expression{text, values.lookup(op->getOperand(0)).atomic};
  if (isSmallFloat(from))
    text = "to_float(" + text + ")";
  if (isSmallFloat(to))
    return Expression{"from_float<" + *name + ">(" + text + ")", true};
  if (isSmallFloat(from) && to.isF32())
    return Expression{text, true};
  return Expression{"static_cast<" + *name + ">(" + text + ")", true};
}

std::string Printer::element(Value variable, OperandRange indices) {
  std::string text = whole(variable);
  for (Value index : indices)
    text += "[" + whole(index) + "]";
  return text;
}

/// The text of a load, or the left side of a store.
FailureOr<Expression> Printer::access(Operation *op, Value base, Value index, Type type, bool write, Cache cache) {
  auto pointer = cast<PtrType>(base.getType());
  FailureOr<std::string> name = typeName(type, op->getLoc());
  if (failed(name))
    return failure();
  if (type == pointer.getElementType() && cache == Cache::Default)
    return Expression{operand(base) + "[" + whole(index) + "]", true};
  std::string address = "&" + operand(base) + "[" + whole(index) + "]";
  if (type != pointer.getElementType())
    address = "reinterpret_cast<" + std::string(write ? "" : "const ") + *name + " *>(" + address + ")";
  switch (cache) {
  case Cache::Default:
    return Expression{"*" + address, false};
  case Cache::ReadOnly:
    return Expression{"load_read_only(" + address + ")", true};
  case Cache::L2Only:
    return Expression{"load_l2_only(" + address + ")", true};
  }
  llvm_unreachable("all cache hints are handled");
}

static const char *textOf(Special special) {
  switch (special) {
  case Special::ThreadX:
    return "static_cast<int>(threadIdx.x)";
  case Special::Lane:
    return "static_cast<int>(threadIdx.x & 31)";
  case Special::Warp:
    return "__shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x >> 5), 0)";
  case Special::BlockX:
    return "static_cast<int>(blockIdx.x)";
  case Special::BlockY:
    return "static_cast<int>(blockIdx.y)";
  case Special::BlockZ:
    return "static_cast<int>(blockIdx.z)";
  case Special::ClusterRank:
    return "cluster_rank()";
  }
  llvm_unreachable("all coordinates are handled");
}

/// The text of an operation with one result. Emits an error if the operation has no CUDA C++ form.
FailureOr<Expression> Printer::expression(Operation *op) {
  Location loc = op->getLoc();
  StringRef opName = op->getName().getStringRef();
  if (auto infix = infixOperators().find(opName); infix != infixOperators().end()) {
    Type type = op->getResult(0).getType();
    std::string left = operand(op->getOperand(0)), right = operand(op->getOperand(1));
    std::string symbol = std::string(" ") + infix->second.symbol + " ";
    FailureOr<std::string> name = typeName(type, loc);
    if (failed(name))
      return failure();
    // Products of i32, for example in hashes, wrap around, so they are computed as unsigned. Products of indices do not
    // overflow.
    if (infix->second.signedness == Signedness::Unsigned || (isa<arith::MulIOp>(op) && type.isInteger(32))) {
      std::string cast = "static_cast<" + *unsignedTypeName(type, loc) + ">(";
      return Expression{"static_cast<" + *name + ">(" + cast + left + ")" + symbol + cast + right + "))", true};
    }
    if (isSmallFloat(type))
      return Expression{"from_float<" + *name + ">(to_float(" + left + ")" + symbol + "to_float(" + right + "))", true};
    return Expression{left + symbol + right, false};
  }
  if (auto function = functions().find(opName); function != functions().end()) {
    if (isSmallFloat(op->getResult(0).getType()))
      return op->emitError() << opName << " on " << op->getResult(0).getType()
                             << " has no CUDA C++ form; widen to f32 first";
    std::string text = std::string(function->second) + "(";
    llvm::interleave(op->getOperands(), [&](Value value) { text += whole(value); }, [&] { text += ", "; });
    return Expression{text + ")", true};
  }
  using Result = FailureOr<Expression>;
  return llvm::TypeSwitch<Operation *, Result>(op)
      .Case([&](arith::ConstantOp constantOp) { return constant(constantOp); })
      .Case<arith::BitcastOp, arith::ExtFOp, arith::ExtSIOp, arith::ExtUIOp, arith::FPToSIOp, arith::IndexCastOp,
            arith::IndexCastUIOp, arith::SIToFPOp, arith::TruncFOp, arith::TruncIOp, arith::UIToFPOp>(
          [&](Operation *cast) { return conversion(cast); })
      .Case([&](arith::NegFOp neg) { return Result(Expression{"-" + operand(neg.getOperand()), false}); })
      .Case([&](arith::CmpIOp cmp) -> Result {
        bool isUnsigned;
        std::string symbol = symbolOf(cmp.getPredicate(), isUnsigned), left = operand(cmp.getLhs()),
                    right = operand(cmp.getRhs());
        if (isUnsigned) {
          FailureOr<std::string> name = unsignedTypeName(cmp.getLhs().getType(), loc);
          if (failed(name))
            return failure();
          left = "static_cast<" + *name + ">(" + left + ")";
          right = "static_cast<" + *name + ">(" + right + ")";
        }
        return Expression{left + " " + symbol + " " + right, false};
      })
      .Case([&](arith::CmpFOp cmp) -> Result {
        auto [symbol, negated] = symbolOf(cmp.getPredicate());
        if (!symbol)
          return cmp.emitError("predicate ") << stringifyCmpFPredicate(cmp.getPredicate()) << " has no CUDA C++ form";
        std::string text = operand(cmp.getLhs()) + " " + symbol + " " + operand(cmp.getRhs());
        return Expression{negated ? "!(" + text + ")" : text, false};
      })
      .Case([&](arith::SelectOp select) {
        return Result(Expression{operand(select.getCondition()) + " ? " + operand(select.getTrueValue()) + " : " +
                                     operand(select.getFalseValue()),
                                 false});
      })
      .Case([&](SpecialOp special) { return Result(Expression{textOf(special.getWhich()), true}); })
      .Case([&](SizeOp size) -> Result {
        if (sizes.empty())
          return size.emitError("needs a kernel parameter of type !cuda.opaque<\"StepSizes\">");
        return Expression{sizes + ".v[" + std::to_string(size.getWhich()) + "]", true};
      })
      .Case([&](SharedOp shared) -> Result {
        FailureOr<std::string> name = typeName(shared.getType(), loc);
        if (failed(name))
          return failure();
        return Expression{"reinterpret_cast<" + *name + ">(shared_memory + " + std::to_string(shared.getOffset()) + ")",
                          true};
      })
      .Case([&](OffsetOp offset) {
        return Result(Expression{operand(offset.getBase()) + " + " + operand(offset.getIndex()), false});
      })
      .Case([&](cuda::CastOp cast) -> Result {
        FailureOr<std::string> name = typeName(cast.getType(), loc);
        if (failed(name))
          return failure();
        return Expression{"reinterpret_cast<" + *name + ">(" + whole(cast.getBase()) + ")", true};
      })
      .Case([&](LoadOp load) {
        return access(load, load.getBase(), load.getIndex(), load.getType(), /*write=*/false, load.getCache());
      })
      .Case([&](GetOp get) { return Result(Expression{element(get.getVariable(), get.getIndices()), true}); })
      .Case([&](AddressOp address) {
        bool isWhole = address.getIndices().size() < address.getVariable().getType().getShape().size();
        return Result(Expression{(isWhole ? "" : "&") + element(address.getVariable(), address.getIndices()), isWhole});
      })
      .Default([&](Operation *) -> Result { return op->emitError() << "'" << opName << "' has no CUDA C++ form"; });
}

/// Whether `op` may be printed inside its only user: nothing between them changes what `op` reads.
bool Printer::isInlined(Operation *op, StringRef text) {
  if (isa<arith::ConstantOp, SizeOp>(op))
    return true;
  if (text.size() > kLongestInline || !op->hasOneUse() || isa<SharedOp>(op) || op->getLoc()->findInstanceOf<NameLoc>())
    return false;
  Operation *user = *op->user_begin();
  if (user->getBlock() != op->getBlock() || isa<scf::WhileOp, scf::ConditionOp, scf::YieldOp>(user))
    return false;
  // The user may itself be inlined into its user, and so on. Effects between `op` and the last user of this chain
  // matter.
  if (!isa<LoadOp, GetOp>(op))
    return true;
  auto isQuiet = [](Operation *other) { return isMemoryEffectFree(other) || isa<LoadOp, GetOp>(other); };
  Operation *last = user;
  while (isMemoryEffectFree(last) && last->getNumRegions() == 0 && last->getNumResults() == 1 && last->hasOneUse() &&
         (*last->user_begin())->getBlock() == op->getBlock())
    last = *last->user_begin();
  if (isa<scf::ForOp>(last))
    return false; // the text of its bounds is evaluated again in each iteration
  for (Operation *between = op->getNextNode(); between && between != last; between = between->getNextNode())
    if (!isQuiet(between))
      return false;
  return true;
}

//===----------------------------------------------------------------------===//
// Statements
//===----------------------------------------------------------------------===//

LogicalResult Printer::declare(Operation *op, Value value, const Expression &expression) {
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
LogicalResult Printer::declareResults(Operation *op, ValueRange initial) {
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
LogicalResult Printer::assign(ValueRange targets, ValueRange sources) {
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

LogicalResult Printer::forOp(scf::ForOp op) {
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

LogicalResult Printer::ifOp(scf::IfOp op) {
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

LogicalResult Printer::whileOp(scf::WhileOp op) {
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

LogicalResult Printer::statement(Operation *op) {
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

LogicalResult Printer::block(Block &block) {
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

LogicalResult Printer::print(KernelOp kernel) {
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
  for (const auto &function : functions())
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
  return Printer(os, options).print(kernel);
}
