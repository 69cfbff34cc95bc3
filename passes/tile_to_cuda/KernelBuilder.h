//===- KernelBuilder.h - short names for building kernels ------------------===//
//
// The scalar arithmetic, control and calls that a lowering writes most, at one
// location. Sizes known to the compiler fold, so that a kernel shows only what
// is decided when it runs.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_KERNELBUILDER_H
#define INLAY_PASSES_TILE_TO_CUDA_KERNELBUILDER_H

#include "dialects/cuda/Cuda.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace inlay {
class KernelBuilder : public mlir::ImplicitLocOpBuilder {
public:
  using mlir::ImplicitLocOpBuilder::ImplicitLocOpBuilder;
  using Value = mlir::Value;

  /// A location that names the variable which an operation defines.
  mlir::Location named(llvm::StringRef name) { return mlir::NameLoc::get(getStringAttr(name), getLoc()); }
  /// Runs `build` so that what it creates last carries a name in the printed kernel.
  Value name(llvm::StringRef text, Value value) {
    if (mlir::Operation *op = value.getDefiningOp(); op && !mlir::getConstantIntValue(value))
      op->setLoc(named(text));
    return value;
  }

  Value index(int64_t value) { return mlir::arith::ConstantIndexOp::create(*this, value); }
  Value i32(int64_t value) { return mlir::arith::ConstantIntOp::create(*this, value, 32); }
  Value f32(double value) { return mlir::arith::ConstantOp::create(*this, getF32FloatAttr(static_cast<float>(value))); }
  Value special(cuda::Special which) { return cuda::SpecialOp::create(*this, getIndexType(), which); }
  Value size(int64_t which) { return cuda::SizeOp::create(*this, getIndexType(), which); }

  Value add(Value a, Value b) {
    return fold<mlir::arith::AddIOp>(a, b, [](int64_t x, int64_t y) { return x + y; }, 0);
  }
  Value sub(Value a, Value b) {
    return fold<mlir::arith::SubIOp>(a, b, [](int64_t x, int64_t y) { return x - y; }, 0);
  }
  Value mul(Value a, Value b) {
    return fold<mlir::arith::MulIOp>(a, b, [](int64_t x, int64_t y) { return x * y; }, 1);
  }
  Value div(Value a, Value b) {
    return fold<mlir::arith::DivSIOp>(a, b, [](int64_t x, int64_t y) { return x / y; }, 1);
  }
  Value rem(Value a, Value b) {
    return mlir::isOneInteger(b)
               ? index(0)
               : fold<mlir::arith::RemSIOp>(a, b, [](int64_t x, int64_t y) { return x % y; }, std::nullopt);
  }
  Value add(Value a, int64_t b) { return add(a, index(b)); }
  Value sub(Value a, int64_t b) { return sub(a, index(b)); }
  Value mul(Value a, int64_t b) { return mul(a, index(b)); }
  Value div(Value a, int64_t b) { return div(a, index(b)); }
  Value rem(Value a, int64_t b) { return rem(a, index(b)); }
  Value bitXor(Value a, Value b) { return mlir::arith::XOrIOp::create(*this, a, b); }
  Value bitXor(Value a, int64_t b) { return bitXor(a, index(b)); }
  Value min(Value a, Value b) { return mlir::arith::MinSIOp::create(*this, a, b); }
  Value max(Value a, Value b) { return mlir::arith::MaxSIOp::create(*this, a, b); }
  Value both(Value a, Value b) { return mlir::arith::AndIOp::create(*this, a, b); }
  Value either(Value a, Value b) { return mlir::arith::OrIOp::create(*this, a, b); }
  Value select(Value condition, Value a, Value b) { return mlir::arith::SelectOp::create(*this, condition, a, b); }
  Value less(Value a, Value b) { return mlir::arith::CmpIOp::create(*this, mlir::arith::CmpIPredicate::slt, a, b); }
  Value less(Value a, int64_t b) { return less(a, index(b)); }
  Value equal(Value a, int64_t b) {
    return mlir::arith::CmpIOp::create(*this, mlir::arith::CmpIPredicate::eq, a, index(b));
  }
  Value addF(Value a, Value b) { return mlir::arith::AddFOp::create(*this, a, b); }
  Value toIndex(Value a) {
    return a.getType().isIndex() ? a : mlir::arith::IndexCastOp::create(*this, getIndexType(), a).getResult();
  }

  /// A buffer in shared memory of this kernel, at a multiple of `alignment` bytes that cuda-allocate-shared chooses. Of
  /// different overlays only one is in use at a time.
  Value shared(llvm::StringRef name, mlir::Type element, int64_t bytes, int64_t alignment = 128,
               std::optional<int64_t> overlay = {}) {
    auto type = cuda::PtrType::get(getContext(), element, cuda::Space::Shared);
    return cuda::SharedBufferOp::create(*this, named(name), type, bytes, alignment,
                                        overlay ? getI64IntegerAttr(*overlay) : mlir::IntegerAttr());
  }

  Value offset(Value base, Value index) { return cuda::OffsetOp::create(*this, base.getType(), base, index); }
  Value as(Value pointer, mlir::Type element) {
    auto type = mlir::cast<cuda::PtrType>(pointer.getType());
    return cuda::CastOp::create(*this, cuda::PtrType::get(getContext(), element, type.getSpace()), pointer);
  }
  Value load(Value base, Value index, mlir::Type type = {}, cuda::Cache cache = cuda::Cache::Default) {
    mlir::Type element = mlir::cast<cuda::PtrType>(base.getType()).getElementType();
    return cuda::LoadOp::create(*this, type ? type : element, base, index, cache);
  }
  void store(Value value, Value base, Value index) { cuda::StoreOp::create(*this, value, base, index); }
  Value local(llvm::StringRef name, llvm::ArrayRef<int64_t> shape, mlir::Type element, Value fill = {}) {
    return cuda::LocalOp::create(*this, named(name), cuda::LocalType::get(getContext(), shape, element), fill);
  }
  Value get(Value variable, mlir::ValueRange indices = {}) {
    return cuda::GetOp::create(*this, mlir::cast<cuda::LocalType>(variable.getType()).getElementType(), variable,
                               indices);
  }
  void set(Value value, Value variable, mlir::ValueRange indices = {}) {
    cuda::SetOp::create(*this, value, variable, indices);
  }
  Value address(Value variable, mlir::ValueRange indices = {}) {
    mlir::Type element = mlir::cast<cuda::LocalType>(variable.getType()).getElementType();
    return cuda::AddressOp::create(*this, cuda::PtrType::get(getContext(), element, cuda::Space::Local), variable,
                                   indices);
  }
  void barrier() { cuda::BarrierOp::create(*this, mlir::IntegerAttr(), mlir::IntegerAttr()); }
  void syncWarp() { cuda::SyncWarpOp::create(*this); }
  void comment(const llvm::Twine &text) { cuda::CommentOp::create(*this, text.str()); }

  void call(const llvm::Twine &callee, llvm::StringRef header, mlir::ValueRange inputs) {
    auto op = cuda::CallOp::create(*this, mlir::Type(), callee.str(), header, inputs);
    if (provenance)
      op->setAttr(cuda::kProvenanceAttr, cuda::ProvenanceAttr::get(getContext(), *provenance));
  }
  /// Where set: what calls without a result read is of this provenance, whatever their pointers and maps say.
  std::optional<cuda::Provenance> provenance;
  Value call(mlir::Type result, const llvm::Twine &callee, llvm::StringRef header, mlir::ValueRange inputs) {
    return cuda::CallOp::create(*this, result, callee.str(), header, inputs).getResult();
  }

  enum Unroll { Rolled, Unrolled };
  /// for (i = from; i < to; i += step) body(i)
  void loop(llvm::StringRef name, Value from, Value to, Value step, Unroll unroll,
            llvm::function_ref<void(Value)> body) {
    auto op = mlir::scf::ForOp::create(*this, from, to, step);
    op->setLoc(named(name));
    if (unroll == Unrolled)
      op->setAttr(cuda::kUnrollAttr, getUnitAttr());
    mlir::OpBuilder::InsertionGuard guard(*this);
    setInsertionPointToStart(op.getBody());
    body(op.getInductionVar());
  }
  void loop(llvm::StringRef name, int64_t count, Unroll unroll, llvm::function_ref<void(Value)> body) {
    loop(name, index(0), index(count), index(1), unroll, body);
  }
  void ifThen(Value condition, llvm::function_ref<void()> then, llvm::function_ref<void()> otherwise = {}) {
    auto op = mlir::scf::IfOp::create(*this, condition, /*withElseRegion=*/static_cast<bool>(otherwise));
    mlir::OpBuilder::InsertionGuard guard(*this);
    setInsertionPointToStart(op.thenBlock());
    then();
    if (otherwise) {
      setInsertionPointToStart(op.elseBlock());
      otherwise();
    }
  }

private:
  /// Folds constants and the neutral element on the right.
  template <typename Op>
  Value fold(Value a, Value b, int64_t (*apply)(int64_t, int64_t), std::optional<int64_t> neutral) {
    std::optional<int64_t> x = mlir::getConstantIntValue(a), y = mlir::getConstantIntValue(b);
    if (x && y)
      return a.getType().isIndex() ? index(apply(*x, *y)) : i32(apply(*x, *y));
    if (y && neutral && *y == *neutral)
      return a;
    return Op::create(*this, a, b);
  }
};
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_KERNELBUILDER_H
