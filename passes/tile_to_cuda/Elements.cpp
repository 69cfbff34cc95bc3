//===- Elements.cpp - tile programs one element at a time ------------------===//

#include "passes/tile_to_cuda/Elements.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace inlay;
using tile::Provenance;

/// Positions of the elements of a pair that a thread owns.
SmallVector<Position> Elements::positionsOf(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type)
    return {Position::Scalar};
  if (type.getRank() == 2 || llvm::any_of(value.getUsers(), [](Operation *user) {
        auto broadcast = dyn_cast<tile::BroadcastOp>(user);
        return broadcast && broadcast.getAxis() == 0;
      }))
    return type.getShape().back() == columns ? SmallVector<Position>{Position::Even, Position::Odd}
                                             : SmallVector<Position>{Position::Half};
  return {Position::Row};
}

Value Elements::indexOf(Position position) {
  switch (position) {
  case Position::Scalar:
    return b.index(0);
  case Position::Row:
    return row;
  case Position::Even:
    return b.mul(pair, 2);
  case Position::Odd:
    return b.add(b.mul(pair, 2), 1);
  case Position::Half:
    return pair;
  }
  llvm_unreachable("all positions are handled");
}

Value Elements::find(Key key) {
  for (auto &scope : llvm::reverse(scopes))
    if (Value found = scope.lookup(key))
      return found;
  return {};
}

FailureOr<Value> Elements::at(Value value, Position position) {
  Key key{value, static_cast<int>(position)};
  if (Value found = find(key))
    return found;
  FailureOr<Value> result = source ? source(value, position) : Value();
  if (succeeded(result) && !*result)
    result = compute(value, position);
  if (succeeded(result))
    scopes.back()[key] = *result;
  return result;
}

/// Results of a branch are computed for one position at a time, all that the branch yields together.
FailureOr<Value> Elements::branch(scf::IfOp op, unsigned result, Position position) {
  FailureOr<Value> condition = at(op.getCondition(), Position::Scalar);
  if (failed(condition))
    return failure();
  SmallVector<Type> types;
  for (Type type : op.getResultTypes())
    types.push_back(getElementTypeOrSelf(type));
  auto copy = scf::IfOp::create(b, types, *condition, /*withElseRegion=*/true);
  for (auto [from, to] : {std::pair(op.thenBlock(), copy.thenBlock()), std::pair(op.elseBlock(), copy.elseBlock())}) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(to);
    scopes.emplace_back();
    SmallVector<Value> yielded;
    for (Value value : from->getTerminator()->getOperands()) {
      FailureOr<Value> scalar = at(value, position);
      if (failed(scalar))
        return failure();
      yielded.push_back(*scalar);
    }
    scf::YieldOp::create(b, yielded);
    scopes.pop_back();
  }
  for (auto [i, value] : llvm::enumerate(copy.getResults()))
    scopes.back()[{op.getResult(i), static_cast<int>(position)}] = value;
  return copy.getResult(result);
}

FailureOr<Value> Elements::compute(Value value, Position position) {
  Operation *op = value.getDefiningOp();
  if (!op)
    return emitError(value.getLoc()) << "this value has no meaning for one element";
  Type element = getElementTypeOrSelf(value.getType());
  if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
    TypedAttr attr = constant.getValue();
    if (auto elements = dyn_cast<DenseElementsAttr>(attr)) {
      if (!elements.isSplat())
        return op->emitError("differs between elements; expected a splat constant");
      attr = cast<TypedAttr>(elements.getSplatValue<Attribute>());
    }
    return arith::ConstantOp::create(b, attr).getResult();
  }
  if (auto broadcast = dyn_cast<tile::BroadcastOp>(op))
    return at(broadcast.getValue(), broadcast.getAxis() == 1 ? Position::Row : position);
  if (auto split = dyn_cast<tile::DeinterleaveOp>(op))
    return at(split.getValue(), value == split.getEven() ? Position::Even : Position::Odd);
  if (auto splat = dyn_cast<tensor::SplatOp>(op))
    return at(splat.getInput(), Position::Scalar);
  if (auto iota = dyn_cast<tile::IotaOp>(op)) {
    bool isRow =
        cast<RankedTensorType>(value.getType()).getRank() == 2 ? iota.getAxis() == 0 : position == Position::Row;
    return arith::IndexCastOp::create(b, b.getI32Type(), isRow ? row : indexOf(position)).getResult();
  }
  if (auto extent = dyn_cast<tile::ExtentOp>(op))
    return b.size(static_cast<int64_t>(extent.getWhich()));
  if (auto load = dyn_cast<tile::LoadOp>(op))
    return this->load(op, load.getView(), load.getOffsets(), {}, position);
  if (auto read = dyn_cast<tile::ReadOp>(op))
    return this->load(op, read.getView(), read.getOffsets(), {}, Position::Scalar);
  if (auto gather = dyn_cast<tile::GatherOp>(op))
    return this->load(op, gather.getView(), gather.getColumn() ? ValueRange(gather.getColumn()) : ValueRange(),
                      gather.getIndices(), position);
  if (auto branchOp = dyn_cast<scf::IfOp>(op))
    return branch(branchOp, cast<OpResult>(value).getResultNumber(), position);
  if (!isa<arith::ArithDialect, math::MathDialect>(op->getDialect()) || op->getNumResults() != 1)
    return op->emitError() << "'" << op->getName() << "' is no epilogue that the families matvec and gemm can apply to "
                           << "one element at a time";
  OperationState state(b.getLoc(), op->getName());
  for (Value operand : op->getOperands()) {
    bool isTile = isa<RankedTensorType>(operand.getType());
    FailureOr<Value> scalar = at(operand, isTile ? position : Position::Scalar);
    if (failed(scalar))
      return failure();
    state.addOperands(*scalar);
  }
  state.addTypes(element);
  state.addAttributes(op->getAttrs());
  return b.create(state)->getResult(0);
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

/// Whether an index of the program is known to be a multiple of 2.
static bool isEven(Value value) {
  if (std::optional<int64_t> constant = getConstantIntValue(value))
    return *constant % 2 == 0;
  if (auto mul = value.getDefiningOp<arith::MulIOp>())
    return isEven(mul.getLhs()) || isEven(mul.getRhs());
  if (auto add = value.getDefiningOp<arith::AddIOp>())
    return isEven(add.getLhs()) && isEven(add.getRhs());
  return false;
}

/// Where an element lies, and whether it lies in the view. The index is 0 where it does not, so that it can be read
/// all the same.
FailureOr<Elements::Address> Elements::address(Operation *op, Value view, ValueRange offsets, Value indices,
                                               Position position) {
  auto type = cast<tile::ViewType>(view.getType());
  int64_t rank = type.getRank();
  if (rank > 2)
    return op->emitError() << "accesses a view of rank " << rank << "; the families matvec and gemm take 1 or 2";
  Value valid, index = b.index(0);
  for (int64_t dim = 0; dim < rank; ++dim) {
    bool isLast = dim == rank - 1, isGathered = indices && dim == 0;
    Value at;
    if (isGathered) {
      FailureOr<Value> scalar = this->at(indices, rank == 1 ? position : Position::Row);
      if (failed(scalar))
        return failure();
      at = b.toIndex(*scalar);
    } else {
      FailureOr<Value> offset = this->at(offsets[dim - (indices ? 1 : 0)], Position::Scalar);
      if (failed(offset))
        return failure();
      // A tile's own dimensions move with the element; a tile of lower rank than the view has only the last.
      bool isRow = !isLast && position != Position::Scalar;
      at = isLast ? b.add(*offset, indexOf(position)) : isRow ? b.add(*offset, row) : *offset;
    }
    std::optional<Value> bound;
    if (!ShapedType::isDynamic(type.getShape()[dim]))
      bound = b.index(type.getShape()[dim]);
    else if (type.getExtent())
      bound = b.size(static_cast<int64_t>(*type.getExtent()));
    Value inside;
    if (bound)
      inside = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, at, *bound);
    else if (isGathered)
      inside = arith::CmpIOp::create(b, arith::CmpIPredicate::sge, at, b.index(0));
    if (inside)
      valid = valid ? b.both(valid, inside) : inside;
    index = isLast ? b.add(at, index) : b.mul(at, type.getShape().back());
  }
  return Address{views(view), index, valid};
}

FailureOr<Value> Elements::load(Operation *op, Value view, ValueRange offsets, Value indices, Position position) {
  auto type = cast<tile::ViewType>(view.getType());
  Type element = type.getElementType();
  bool isReadonly = type.getProvenance() == Provenance::Weight || type.getProvenance() == Provenance::Meta;
  cuda::Cache cache = isReadonly ? cuda::Cache::ReadOnly : cuda::Cache::L2Only;
  if (isReadonly && !element.isInteger(32) && !element.isF32())
    cache = cuda::Cache::Default;
  bool isPair = (position == Position::Even || position == Position::Odd) && element.getIntOrFloatBitWidth() == 16 &&
                type.getRank() == 2 && type.getShape()[1] % 2 == 0 && isEven(offsets.back());
  // Two neighbours come as one word.
  FailureOr<Address> where = address(op, view, offsets, indices, isPair ? Position::Even : position);
  if (failed(where))
    return failure();
  Value index = where->valid ? b.select(where->valid, where->index, b.index(0)) : where->index;
  if (isPair) {
    Value word = b.load(b.as(where->base, b.getI32Type()), b.div(index, 2), {}, cache);
    if (where->valid)
      word = b.select(where->valid, word, b.i32(0));
    std::string name = element.isBF16() ? "bfloat16" : "float16";
    Value value = op->getResult(0);
    scopes.back()[{value, static_cast<int>(Position::Even)}] =
        b.call(element, "low_half<" + name + ">", "base.h", word);
    scopes.back()[{value, static_cast<int>(Position::Odd)}] =
        b.call(element, "high_half<" + name + ">", "base.h", word);
    return scopes.back()[{value, static_cast<int>(position)}];
  }
  Value loaded = b.load(where->base, index, {}, cache);
  if (!where->valid)
    return loaded;
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(element));
  return b.select(where->valid, loaded, zero);
}

LogicalResult Elements::store(Operation *op, Value value, Value view, ValueRange offsets, Value indices) {
  auto type = cast<tile::ViewType>(view.getType());
  Type element = type.getElementType();
  SmallVector<Position> positions = positionsOf(value);
  bool isPair = positions.size() == 2 && element.getIntOrFloatBitWidth() == 16 && type.getRank() == 2 &&
                type.getShape()[1] % 2 == 0 && isEven(offsets.back());
  SmallVector<Value> scalars;
  for (Position position : positions) {
    FailureOr<Value> scalar = at(value, position);
    if (failed(scalar))
      return failure();
    scalars.push_back(*scalar);
  }
  for (auto [i, position] : llvm::enumerate(positions)) {
    FailureOr<Address> where = address(op, view, offsets, indices, position);
    if (failed(where))
      return failure();
    auto write = [&, i = i] {
      if (isPair)
        b.store(b.call(b.getI32Type(), "pack_bits", "base.h", scalars), b.as(where->base, b.getI32Type()),
                b.div(where->index, 2));
      else
        b.store(scalars[i], where->base, where->index);
    };
    if (where->valid)
      b.ifThen(where->valid, write);
    else
      write();
    if (isPair)
      break;
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Blocks
//===----------------------------------------------------------------------===//

LogicalResult Elements::prefetch(Block &block, scf::ForOp loop) {
  // An operation is ready when nothing that leads to it comes out of the loop.
  llvm::DenseMap<Value, bool> known;
  std::function<bool(Value)> isReady = [&](Value value) {
    Operation *op = value.getDefiningOp();
    if (!op)
      return isa<tile::ViewType>(value.getType());
    auto [it, inserted] = known.try_emplace(value, true);
    if (!inserted)
      return it->second;
    bool ready = op->getNumRegions() == 0 && llvm::all_of(op->getOperands(), isReady);
    return known[value] = ready;
  };
  WalkResult walk = block.walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (op == loop)
      return WalkResult::skip();
    if (!isa<tile::LoadOp, tile::GatherOp, tile::ReadOp>(op))
      return WalkResult::advance();
    // What the loop alone reads was read there.
    Value loaded = op->getResult(0);
    if (!isReady(loaded) || llvm::all_of(loaded.getUsers(), [&](Operation *user) { return loop->isAncestor(user); }))
      return WalkResult::advance();
    for (Position position : positionsOf(loaded))
      if (failed(at(loaded, position)))
        return WalkResult::interrupt();
    return WalkResult::advance();
  });
  return failure(walk.wasInterrupted());
}

LogicalResult Elements::emit(Block &block, Operation *from) {
  for (Operation &op : llvm::make_range(from ? std::next(Block::iterator(from)) : block.begin(), block.end())) {
    LogicalResult result = success();
    if (auto storeOp = dyn_cast<tile::StoreOp>(op)) {
      result = store(&op, storeOp.getValue(), storeOp.getView(), storeOp.getOffsets(), {});
    } else if (auto scatter = dyn_cast<tile::ScatterOp>(op)) {
      result = store(&op, scatter.getValue(), scatter.getView(),
                     scatter.getColumn() ? ValueRange(scatter.getColumn()) : ValueRange(), scatter.getIndices());
    } else if (auto branchOp = dyn_cast<scf::IfOp>(op)) {
      bool writes =
          branchOp
              .walk([](Operation *inner) {
                return isa<tile::StoreOp, tile::ScatterOp>(inner) ? WalkResult::interrupt() : WalkResult::advance();
              })
              .wasInterrupted();
      if (!writes)
        continue; // its results are evaluated where they are used
      if (branchOp->getNumResults() != 0)
        return branchOp.emitError("has results and writes memory; expected one of them");
      FailureOr<Value> condition = at(branchOp.getCondition(), Position::Scalar);
      if (failed(condition))
        return failure();
      auto side = [&](Region &region) {
        scopes.emplace_back();
        if (!region.empty() && failed(emit(region.front())))
          result = failure();
        scopes.pop_back();
      };
      b.ifThen(*condition, [&] { side(branchOp.getThenRegion()); }, [&] { side(branchOp.getElseRegion()); });
    } else if (!isMemoryEffectFree(&op) && !isa<tile::LoadOp, tile::GatherOp, tile::ReadOp>(op)) {
      // Loads and pure operations are evaluated where they are used.
      result = op.emitError() << "'" << op.getName() << "' is no epilogue that the families matvec and gemm can apply";
    }
    if (failed(result))
      return failure();
  }
  return success();
}
