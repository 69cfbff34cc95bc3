//===- ConvertTileToCpu.cpp - the ops of a program in order ----------------===//
//
// Each op that does something becomes loops where it stands; expressions wait for
// what consumes them. Tiles that control flow carries lie in scratch.
//
//===----------------------------------------------------------------------===//

#include "codegen/tile_to_cpu/Materialization.h"
#include "codegen/tile_to_cpu/Passes.h"
#include "codegen/tile_to_cpu/ProgramLowering.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::cpu;

namespace inlay {
#define GEN_PASS_DEF_CONVERTTILETOCPUPASS
#include "codegen/tile_to_cpu/Passes.h.inc"
} // namespace inlay

static bool isTile(Value value) { return isa<RankedTensorType>(value.getType()); }

ProgramLowering::ProgramLowering(tile::ProgramOp program, func::FuncOp function)
    : VectorBuilder(program.getContext()), program(program), function(function),
      toMaterialize(tilesToMaterialize(program)) {
  loc = program.getLoc();
}

LogicalResult ProgramLowering::run() {
  setInsertionPointToStart(function.addEntryBlock());
  Type pointer = LLVM::LLVMPointerType::get(getContext());
  for (BlockArgument view : program.getBody().getArguments()) {
    Value place = address(function.getArgument(0), index(view.getArgNumber()), getI64Type());
    scalars.map(view, LLVM::LoadOp::create(*this, loc, pointer, place));
  }
  if (failed(lowerBlock(program.getBody().front())))
    return failure();
  func::ReturnOp::create(*this, program.getLoc());
  return success();
}

LogicalResult ProgramLowering::lowerBlock(Block &block) {
  for (Operation &op : block.without_terminator()) {
    loc = op.getLoc();
    if (failed(lowerOp(&op)))
      return failure();
  }
  return success();
}

/// What the backend asks of a tile beyond what the dialect does.
static LogicalResult checkTiles(Operation *op) {
  for (Value value : llvm::concat<Value>(SmallVector<Value>(op->getOperands()), SmallVector<Value>(op->getResults())))
    if (auto type = dyn_cast<RankedTensorType>(value.getType()); type && type.getRank() > 2)
      return op->emitOpError() << "has a tile of rank " << type.getRank() << " (" << type
                               << "); the cpu target takes tiles of rank 0 to 2";
  if (auto constant = dyn_cast<arith::ConstantOp>(op))
    if (isTile(constant) && !isa<SplatElementsAttr>(constant.getValue()))
      return op->emitOpError("has elements that differ; the cpu target takes constant tiles of one value");
  return success();
}

LogicalResult ProgramLowering::lowerOp(Operation *op) {
  if (failed(checkTiles(op)))
    return failure();
  if (isExpression(op)) {
    for (Value result : op->getResults())
      if (toMaterialize.contains(result))
        materialize(result);
    return success();
  }
  return TypeSwitch<Operation *, LogicalResult>(op)
      .Case<scf::ForOp, scf::IfOp, scf::WhileOp>([&](auto control) { return lower(control); })
      .Case<tile::StoreOp, tile::ScatterOp, tile::ReadOp, tile::DotOp, tile::ReduceOp, tile::ArgMaxOp,
            tile::TransposeOp>([&](auto other) {
        lower(other);
        return success();
      })
      .Case<tile::ProgramIdOp>([&](auto id) {
        scalars.map(id.getResult(), toIndex(function.getArgument(2 + id.getDimension())));
        return success();
      })
      .Case<tile::ExtentOp>([&](auto size) {
        scalars.map(size.getResult(), extent(size.getWhich()));
        return success();
      })
      .Case<tile::ClusterRankOp>([&](auto rank) {
        scalars.map(rank.getResult(), index(0));
        return success();
      })
      .Case<tile::UnwrittenOp>([](auto) { return success(); }) // launches come one after the other
      // A cluster is one block here.
      .Case<tile::ClusterSizeOp>([&](auto size) {
        scalars.map(size.getResult(), index(1));
        return success();
      })
      .Case<tile::ClusterReduceOp>([&](auto reduce) {
        memories[reduce.getResult()] = materialize(reduce.getValue());
        return success();
      })
      .Case<tile::StageOp>([&](auto stage) {
        memories[stage.getResult()] = materialize(stage.getValue());
        return success();
      })
      .Case<tensor::ExtractSliceOp>([&](auto slice) { return lower(slice); })
      .Case<tile::ForWarpsOp>([&](auto warps) { return lower(warps); })
      .Case<tensor::ExtractOp>([&](auto extract) {
        SmallVector<Value> at = scalarsOf(extract.getIndices());
        Value column = at.empty() ? index(0) : at.back();
        scalars.map(extract.getResult(), evaluateScalar(extract.getTensor(), at.size() == 2 ? at[0] : Value(), column));
        return success();
      })
      .Default([&](Operation *other) -> LogicalResult {
        bool isScalar = isa_and_nonnull<arith::ArithDialect, math::MathDialect>(other->getDialect()) &&
                        llvm::none_of(other->getOperands(), isTile) && llvm::none_of(other->getResults(), isTile);
        if (!isScalar)
          return other->emitOpError() << "is not an op that the cpu target can compile; expected tile ops, elementwise "
                                         "arith and math, tensor.splat, tensor.extract, scf.for, scf.if or scf.while";
        clone(*other, scalars);
        return success();
      });
}

//===----------------------------------------------------------------------===//
// Control
//===----------------------------------------------------------------------===//

SmallVector<Value> ProgramLowering::scalarsOf(ValueRange values) {
  SmallVector<Value> result;
  for (Value value : values)
    if (!isTile(value))
      result.push_back(scalars.lookup(value));
  return result;
}

void ProgramLowering::mapScalars(ValueRange from, ValueRange to) {
  for (Value value : from)
    if (!isTile(value)) {
      scalars.map(value, to.front());
      to = to.drop_front();
    }
}

SmallVector<Memory> ProgramLowering::scratchForTiles(ValueRange values) {
  SmallVector<Memory> result;
  for (Value value : values)
    if (isTile(value))
      result.push_back(scratchFor(value));
  return result;
}

void ProgramLowering::mapTiles(ValueRange values, ArrayRef<Memory> targets) {
  for (Value value : values)
    if (isTile(value)) {
      memories[value] = targets.front();
      targets = targets.drop_front();
    }
}

void ProgramLowering::assignTiles(ValueRange values, ArrayRef<Memory> targets) {
  SmallVector<Value> tiles(llvm::make_filter_range(values, isTile));
  auto isTarget = [&](Value tile) {
    auto known = memories.find(tile);
    return known != memories.end() &&
           llvm::any_of(targets, [&](const Memory &m) { return m.pointer == known->second.pointer; });
  };
  // All are read before the first is written.
  for (size_t i = 0; i < tiles.size(); ++i) {
    auto known = memories.find(tiles[i]);
    bool stays = known != memories.end() && known->second.pointer == targets[i].pointer;
    if (tiles.size() == 1 || stays)
      continue;
    if (isTarget(tiles[i])) {
      Memory copy = scratchFor(tiles[i]);
      fill(copy, tiles[i]);
      memories[tiles[i]] = copy;
    } else {
      materialize(tiles[i]);
    }
  }
  for (auto [tile, target] : llvm::zip_equal(tiles, targets)) {
    auto known = memories.find(tile);
    if (known == memories.end() || known->second.pointer != target.pointer)
      fill(target, tile);
  }
}

LogicalResult ProgramLowering::lower(scf::ForOp op) {
  SmallVector<Memory> carried = scratchForTiles(op.getInitArgs());
  assignTiles(op.getInitArgs(), carried);
  auto loop = scf::ForOp::create(*this, loc, scalars.lookup(op.getLowerBound()), scalars.lookup(op.getUpperBound()),
                                 scalars.lookup(op.getStep()), scalarsOf(op.getInitArgs()));
  {
    InsertionGuard guard(*this);
    setInsertionPointToStart(loop.getBody());
    scalars.map(op.getInductionVar(), loop.getInductionVar());
    mapScalars(op.getRegionIterArgs(), loop.getRegionIterArgs());
    mapTiles(op.getRegionIterArgs(), carried);
    if (failed(lowerBlock(*op.getBody())))
      return failure();
    ValueRange yielded = op.getBody()->getTerminator()->getOperands();
    assignTiles(yielded, carried);
    if (SmallVector<Value> next = scalarsOf(yielded); !next.empty())
      scf::YieldOp::create(*this, loc, next);
  }
  mapScalars(op.getResults(), loop.getResults());
  mapTiles(op.getResults(), carried);
  return success();
}

LogicalResult ProgramLowering::lower(scf::IfOp op) {
  SmallVector<Memory> results = scratchForTiles(op.getResults());
  SmallVector<Type> types;
  for (Value result : op.getResults())
    if (!isTile(result))
      types.push_back(result.getType());
  bool hasElse = !op.getElseRegion().empty();
  auto branch = scf::IfOp::create(*this, loc, types, scalars.lookup(op.getCondition()), /*addThenBlock=*/true, hasElse);
  InsertionGuard guard(*this);
  auto lowerBranch = [&](Block &from, Block &to) -> LogicalResult {
    setInsertionPointToStart(&to);
    if (failed(lowerBlock(from)))
      return failure();
    ValueRange yielded = from.getTerminator()->getOperands();
    assignTiles(yielded, results);
    scf::YieldOp::create(*this, loc, scalarsOf(yielded));
    return success();
  };
  if (failed(lowerBranch(*op.thenBlock(), *branch.thenBlock())) ||
      (hasElse && failed(lowerBranch(*op.elseBlock(), *branch.elseBlock()))))
    return failure();
  mapScalars(op.getResults(), branch.getResults());
  mapTiles(op.getResults(), results);
  return success();
}

LogicalResult ProgramLowering::lower(scf::WhileOp op) {
  SmallVector<Memory> before = scratchForTiles(op.getInits()), after = scratchForTiles(op.getResults());
  assignTiles(op.getInits(), before);
  SmallVector<Value> inits = scalarsOf(op.getInits());
  SmallVector<Type> types;
  for (Value result : op.getResults())
    if (!isTile(result))
      types.push_back(result.getType());
  auto loop = scf::WhileOp::create(*this, loc, types, inits);
  InsertionGuard guard(*this);
  SmallVector<Location> initLocs(inits.size(), loc), resultLocs(types.size(), loc);
  createBlock(&loop.getBefore(), {}, ValueRange(inits).getTypes(), initLocs);
  mapScalars(op.getBeforeArguments(), loop.getBeforeArguments());
  mapTiles(op.getBeforeArguments(), before);
  if (failed(lowerBlock(*op.getBeforeBody())))
    return failure();
  scf::ConditionOp condition = op.getConditionOp();
  assignTiles(condition.getArgs(), after);
  scf::ConditionOp::create(*this, loc, scalars.lookup(condition.getCondition()), scalarsOf(condition.getArgs()));

  createBlock(&loop.getAfter(), {}, types, resultLocs);
  mapScalars(op.getAfterArguments(), loop.getAfterArguments());
  mapTiles(op.getAfterArguments(), after);
  if (failed(lowerBlock(*op.getAfterBody())))
    return failure();
  ValueRange yielded = op.getYieldOp().getOperands();
  assignTiles(yielded, before);
  scf::YieldOp::create(*this, loc, scalarsOf(yielded));
  mapScalars(op.getResults(), loop.getResults());
  mapTiles(op.getResults(), after);
  return success();
}

/// The warps take turns.
LogicalResult ProgramLowering::lower(tile::ForWarpsOp op) {
  SmallVector<Memory> divided;
  for (Value tile : op.getDivided())
    divided.push_back(materialize(tile));
  LogicalResult result = success();
  forEach(op.getCount(), 1, [&](Value warp) {
    scalars.map(op.getWarp(), warp);
    for (auto [part, whole] : llvm::zip_equal(op.getParts(), divided))
      memories[part] = partOf(whole, mul(warp, index(shapeOf(part).rows)), index(0));
    result = lowerBlock(op.getBody().front());
  });
  return result;
}

/// A slice is the memory of its tile, from another element on.
LogicalResult ProgramLowering::lower(tensor::ExtractSliceOp op) {
  if (op.getSourceType().getRank() != 2 || op.getType().getRank() != 2 || !op.hasUnitStride())
    return op.emitOpError() << "takes " << op.getType() << " of " << op.getSourceType()
                            << "; the cpu target takes neighbouring rows and columns of a matrix";
  SmallVector<Value> offsets;
  for (OpFoldResult offset : op.getMixedOffsets()) {
    auto value = dyn_cast<Value>(offset);
    offsets.push_back(value ? scalars.lookup(value) : index(*getConstantIntValue(offset)));
  }
  memories[op.getResult()] = partOf(materialize(op.getSource()), offsets[0], offsets[1]);
  return success();
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

void ProgramLowering::storeRow(Value tile, Value row, Row target) {
  Value zero = index(0);
  Value any = target.limit ? compare(arith::CmpIPredicate::sgt, target.limit, zero) : Value();
  ifElse(any, [&] {
    prepareRow(tile, row);
    forBlocks(shapeOf(tile).columns, kLanes,
              [&](Value column, int64_t width) { store(evaluate(tile, {row, column, width}), target, column); });
  });
}

void ProgramLowering::lower(tile::StoreOp op) {
  Value value = op.getValue();
  if (op.getValue().getType().getRank() < 2)
    return storeRow(value, {}, rowOf(op, {}));
  forEach(shapeOf(value).rows, 1, [&](Value i) { storeRow(value, i, rowOf(op, i)); });
}

void ProgramLowering::lower(tile::ScatterOp op) {
  Value value = op.getValue();
  Shape shape = shapeOf(value);
  if (op.getValue().getType().getRank() == 2)
    return forEach(shape.rows, 1, [&](Value i) { storeRow(value, i, rowOf(op, i)); });
  forBlocks(shape.columns, kLanes, [&](Value column, int64_t width) {
    Value indices = evaluate(op.getIndices(), {{}, column, width});
    Value inside = isInside(indices, sizeOf(op.getView(), 0));
    scatter(evaluate(value, {{}, column, width}), scalars.lookup(op.getView()), indices, inside);
  });
}

void ProgramLowering::lower(tile::ReadOp op) {
  // As a tile of one element, which is 0 past the end.
  auto element = op.getResult().getType();
  auto view = cast<tile::ViewType>(op.getView().getType());
  int64_t last = view.getRank() - 1;
  Value inside, linear = index(0);
  for (int64_t d = 0; d <= last; ++d) {
    Value position = scalars.lookup(op.getOffsets()[d]), size = sizeOf(op.getView(), d);
    if (size)
      inside = both(inside, isInside(position, size));
    linear = add(d == 0 ? linear : mul(linear, size), position);
  }
  Value limit;
  if (inside)
    limit = createOrFold<arith::SelectOp>(loc, inside, index(1), index(0));
  Row row{address(scalars.lookup(op.getView()), linear, element), limit};
  scalars.map(op.getResult(), first(load(row, index(0), 1, element)));
}

//===----------------------------------------------------------------------===//
// Whole tiles
//===----------------------------------------------------------------------===//

Value ProgramLowering::combine(tile::Reduction kind, Value a, Value b) {
  bool isFloat = isa<FloatType>(getElementTypeOrSelf(a.getType()));
  switch (kind) {
  case tile::Reduction::Add:
    return isFloat ? arith::AddFOp::create(*this, loc, a, b).getResult() : add(a, b);
  case tile::Reduction::Max:
    return isFloat ? arith::MaximumFOp::create(*this, loc, a, b).getResult()
                   : arith::MaxSIOp::create(*this, loc, a, b).getResult();
  case tile::Reduction::Min:
    return isFloat ? arith::MinimumFOp::create(*this, loc, a, b).getResult()
                   : arith::MinSIOp::create(*this, loc, a, b).getResult();
  }
  llvm_unreachable("every Reduction is handled");
}

Value ProgramLowering::identity(tile::Reduction kind, Type type) {
  Type element = getElementTypeOrSelf(type);
  if (kind == tile::Reduction::Add)
    return constant(type, 0);
  bool isMax = kind == tile::Reduction::Max;
  if (isa<FloatType>(element))
    return constant(type, isMax ? -INFINITY : INFINITY);
  int64_t largest = llvm::maxIntN(element.getIntOrFloatBitWidth());
  return constant(type, static_cast<double>(isMax ? -largest - 1 : largest));
}

void ProgramLowering::lower(tile::ReduceOp op) {
  Value value = op.getValue();
  Shape shape = shapeOf(value);
  Memory result = scratchFor(op.getResult());
  Type element = elementOf(value);
  auto both = [&](Value a, Value b) { return combine(op.getKind(), a, b); };
  bool isMatrix = op.getValue().getType().getRank() == 2;
  if (isMatrix && op.getAxis() == 0) {
    forBlocks(shape.columns, kLanes, [&](Value column, int64_t width) {
      Value start = identity(op.getKind(), VectorType::get(width, element));
      SmallVector<Value> all = carry(shape.rows, 1, start, [&](Value i, ValueRange carried) {
        return SmallVector<Value>{both(carried[0], evaluate(value, {i, column, width}))};
      });
      store(all[0], row(result, {}), column);
    });
  } else {
    auto reduceRow = [&](Value i) {
      Value source = isMatrix ? i : Value();
      prepareRow(value, source);
      int64_t width = std::min<int64_t>(kLanes, llvm::bit_floor(static_cast<uint64_t>(shape.columns)));
      int64_t done = shape.columns / width * width;
      Value start = identity(op.getKind(), VectorType::get(width, element));
      SmallVector<Value> vectors = carry(done, width, start, [&](Value column, ValueRange carried) {
        return SmallVector<Value>{both(carried[0], evaluate(value, {source, column, width}))};
      });
      Value all = combineLanes(vectors[0], both);
      for (; done < shape.columns; done += width) {
        width = llvm::bit_floor(static_cast<uint64_t>(shape.columns - done));
        all = both(all, combineLanes(evaluate(value, {source, index(done), width}), both));
      }
      store(all, row(result, {}), i);
    };
    // Sums of rows past the step's end are 0.
    Value live = op.getKind() == tile::Reduction::Add && shape.rows > 1 ? liveRows(value) : Value();
    if (live) {
      forRange(index(0), live, reduceRow);
      Value zero = constant(VectorType::get(1, element), 0);
      forRange(live, index(shape.rows), [&](Value i) { store(zero, row(result, {}), i); });
    } else {
      forEach(shape.rows, 1, reduceRow);
    }
  }
  memories[op.getResult()] = result;
}

void ProgramLowering::lower(tile::ArgMaxOp op) {
  Value value = op.getValue();
  Shape shape = shapeOf(value);
  Type i32 = getI32Type();
  Memory maxima = scratchFor(op.getMaximum()), indices = scratchFor(op.getIndex());
  bool isMatrix = op.getValue().getType().getRank() == 2;
  using Pair = SmallVector<Value>; // elements and their indices
  auto larger = [&](const Pair &a, const Pair &b) -> Pair {
    Value isGreater = arith::CmpFOp::create(*this, loc, arith::CmpFPredicate::OGT, b[0], a[0]);
    Value isEqual = arith::CmpFOp::create(*this, loc, arith::CmpFPredicate::OEQ, b[0], a[0]);
    Value isBefore = compare(arith::CmpIPredicate::slt, b[1], a[1]);
    Value takesB = arith::OrIOp::create(*this, loc, isGreater, both(isEqual, isBefore));
    return {arith::SelectOp::create(*this, loc, takesB, b[0], a[0]),
            arith::SelectOp::create(*this, loc, takesB, b[1], a[1])};
  };
  auto at = [&](Value source, Value column, int64_t width) -> Pair {
    Value start = splat(arith::IndexCastOp::create(*this, loc, i32, column), width);
    return {evaluate(value, {source, column, width}), add(start, laneNumbers(width))};
  };
  auto largestLane = [&](Pair pair) {
    while (cast<VectorType>(pair[0].getType()).getNumElements() > 1)
      pair = larger({everySecond(pair[0], {}, 0), everySecond(pair[1], {}, 0)},
                    {everySecond(pair[0], {}, 1), everySecond(pair[1], {}, 1)});
    return pair;
  };
  forEach(shape.rows, 1, [&](Value i) {
    Value source = isMatrix ? i : Value();
    prepareRow(value, source);
    int64_t width = std::min<int64_t>(kLanes, llvm::bit_floor(static_cast<uint64_t>(shape.columns)));
    int64_t done = shape.columns / width * width;
    Pair best = at(source, index(0), width);
    if (done > width) {
      // The first vector is compared with itself, which changes nothing.
      best = carry(done, width, best,
                   [&](Value column, ValueRange carried) { return larger(Pair(carried), at(source, column, width)); });
    }
    best = largestLane(best);
    for (; done < shape.columns; done += width) {
      width = llvm::bit_floor(static_cast<uint64_t>(shape.columns - done));
      best = larger(best, largestLane(at(source, index(done), width)));
    }
    store(best[0], row(maxima, {}), i);
    store(best[1], row(indices, {}), i);
  });
  memories[op.getMaximum()] = maxima;
  memories[op.getIndex()] = indices;
}

void ProgramLowering::lower(tile::TransposeOp op) {
  Memory result = scratchFor(op.getResult());
  Shape shape = shapeOf(op.getValue());
  forEach(shape.rows, 1, [&](Value i) {
    prepareRow(op.getValue(), i);
    forEach(shape.columns, 1, [&](Value j) { store(evaluate(op.getValue(), {i, j, 1}), row(result, j), i); });
  });
  memories[op.getResult()] = result;
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

namespace {
struct ConvertTileToCpu : inlay::impl::ConvertTileToCpuPassBase<ConvertTileToCpu> {
  void runOnOperation() override {
    MLIRContext *context = &getContext();
    OpBuilder builder(context);
    Type pointer = LLVM::LLVMPointerType::get(context), i64 = builder.getI64Type();
    auto type = builder.getFunctionType({pointer, pointer, i64, i64, i64}, {});
    for (auto program : llvm::make_early_inc_range(getOperation().getOps<tile::ProgramOp>())) {
      builder.setInsertionPoint(program);
      auto function = func::FuncOp::create(builder, program.getLoc(), program.getSymName(), type);
      if (failed(ProgramLowering(program, function).run()))
        return signalPassFailure();
      program.erase();
    }
  }
};
} // namespace
