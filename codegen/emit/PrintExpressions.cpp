//===- PrintExpressions.cpp - expressions of CUDA C++ ---------------------===//

#include "codegen/emit/CudaPrinter.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/Format.h"

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

const llvm::StringMap<const char *> &inlay::cuda::functionsOfOps() {
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

FailureOr<Expression> CudaPrinter::constant(arith::ConstantOp op) {
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
FailureOr<Expression> CudaPrinter::conversion(Operation *op) {
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

std::string CudaPrinter::element(Value variable, OperandRange indices) {
  std::string text = whole(variable);
  for (Value index : indices)
    text += "[" + whole(index) + "]";
  return text;
}

/// The text of a load, or the left side of a store.
FailureOr<Expression> CudaPrinter::access(Operation *op, Value base, Value index, Type type, bool write, Cache cache) {
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
FailureOr<Expression> CudaPrinter::expression(Operation *op) {
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
  if (auto function = functionsOfOps().find(opName); function != functionsOfOps().end()) {
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
bool CudaPrinter::isInlined(Operation *op, StringRef text) {
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
