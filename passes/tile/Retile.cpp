//===- Retile.cpp - tiles of another size ----------------------------------===//

#include "passes/tile/Retile.h"

#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/Matchers.h"
#include "passes/tile/TileDimensions.h"
#include "llvm/ADT/TypeSwitch.h"

#include <map>

using namespace mlir;
using namespace inlay;

namespace {
class Retiler {
public:
  Retiler(tile::ProgramOp program, const Retiling &retiling)
      : program(program), retiling(retiling), dimensions(program),
        size(cast<RankedTensorType>(retiling.tile.getType()).getDimSize(retiling.dimension)) {}

  LogicalResult run();

private:
  bool isMember(Slot slot, unsigned dim) const {
    return dimensions.areSame(Slot(retiling.tile), retiling.dimension, slot, dim);
  }
  /// Which dimensions of a tile change, as bits.
  unsigned membersOf(Slot slot) const;
  RankedTensorType retyped(RankedTensorType type, unsigned members) const;

  LogicalResult checkLoop();
  LogicalResult checkGrid();
  LogicalResult checkProgramId(tile::ProgramIdOp id);
  LogicalResult checkBegin(Value begin);
  LogicalResult checkBeginUse(OpOperand &use);
  LogicalResult checkAccesses();
  LogicalResult checkAccess(Operation *op, tile::ViewType view, Slot tile, ValueRange offsets);

  void retypeTiles();
  void retypeGenerator(Operation *op);
  void resize(Operation *generator, unsigned members) const;
  void changeLoop();
  void changeGrid();

  tile::ProgramOp program;
  const Retiling &retiling;
  TileDimensions dimensions;
  int64_t size; // of now
  /// Offsets in elements at which a tile begins, and those beside them.
  DenseSet<Value> begins;
  /// Of `grid`: program_id * size; empty where the size is 1.
  SmallVector<arith::MulIOp> products;
  AffineExpr blocks; // the new dimension of the grid
};
} // namespace

unsigned Retiler::membersOf(Slot slot) const {
  unsigned members = 0;
  for (unsigned dim = 0; dim < slot.rank; ++dim)
    members |= isMember(slot, dim) << dim;
  return members;
}

RankedTensorType Retiler::retyped(RankedTensorType type, unsigned members) const {
  SmallVector<int64_t> shape(type.getShape());
  for (auto [dim, length] : llvm::enumerate(shape))
    if (members >> dim & 1)
      length = retiling.size;
  return type.clone(shape);
}

//===----------------------------------------------------------------------===//
// What a program must fulfil
//===----------------------------------------------------------------------===//

/// The op `x / size * size` that `bound` is; null for any other bound.
static arith::MulIOp roundedDown(Value bound, int64_t size) {
  if (auto convert = bound.getDefiningOp<arith::IndexCastOp>())
    bound = convert.getIn();
  auto product = bound.getDefiningOp<arith::MulIOp>();
  auto quotient = product ? product.getLhs().getDefiningOp<arith::DivSIOp>() : arith::DivSIOp();
  bool isRounded =
      quotient && getConstantIntValue(product.getRhs()) == size && getConstantIntValue(quotient.getRhs()) == size;
  return isRounded ? product : arith::MulIOp();
}

LogicalResult Retiler::checkLoop() {
  scf::ForOp loop = retiling.loop;
  if (std::optional<int64_t> step = getConstantIntValue(loop.getStep()); step != size)
    return loop.emitError("has no step of ") << size << ", the size of the tiles that it runs through";
  std::optional<int64_t> from = getConstantIntValue(loop.getLowerBound()),
                         to = getConstantIntValue(loop.getUpperBound());
  if (from && to && (*to - *from) % size == 0 && (*to - *from) % retiling.size != 0)
    return loop.emitError("runs through ") << *to - *from << " elements, which are no whole tiles of " << retiling.size;
  return checkBegin(loop.getInductionVar());
}

LogicalResult Retiler::checkGrid() {
  unsigned dim = *retiling.grid;
  AffineMap grid = program.getGrid();
  if (dim >= grid.getNumResults())
    return program.emitError("has no dimension ") << dim << " of its grid, found " << grid.getNumResults();
  AffineExpr expr = grid.getResult(dim);
  MLIRContext *context = program.getContext();
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (auto constant = dyn_cast<AffineConstantExpr>(expr); constant && constant.getValue() * size % retiling.size == 0) {
    blocks = getAffineConstantExpr(constant.getValue() * size / retiling.size, context);
  } else if (isa<AffineSymbolExpr>(expr) && size == 1) {
    blocks = expr.ceilDiv(retiling.size);
  } else if (binary && binary.getKind() == AffineExprKind::CeilDiv && isa<AffineSymbolExpr>(binary.getLHS()) &&
             binary.getRHS() == getAffineConstantExpr(size, context)) {
    blocks = binary.getLHS().ceilDiv(retiling.size);
  } else {
    return program.emitError("has the grid ")
           << program.getGridAttr() << ", whose dimension " << dim << " is neither a size of the step ceildiv " << size
           << " nor a number of blocks whose elements are whole tiles of " << retiling.size;
  }

  WalkResult walk = program.walk([&](tile::ProgramIdOp id) {
    if (id.getDimension() != dim)
      return WalkResult::advance();
    return failed(checkProgramId(id)) ? WalkResult::interrupt() : WalkResult::advance();
  });
  return failure(walk.wasInterrupted());
}

LogicalResult Retiler::checkProgramId(tile::ProgramIdOp id) {
  if (size == 1)
    return checkBegin(id);
  for (OpOperand &use : id->getUses()) {
    auto product = dyn_cast<arith::MulIOp>(use.getOwner());
    if (!product || getConstantIntValue(product->getOperand(1 - use.getOperandNumber())) != size)
      return use.getOwner()->emitError("uses the index of a block for more than the offset program_id * ") << size;
    products.push_back(product);
    if (failed(checkBegin(product)))
      return failure();
  }
  return success();
}

/// Collects what is computed from `begin`, where a tile begins. It may only lead to offsets of tiles, and to the
/// indices begin + iota, so that each element is the same one in tiles of any size.
LogicalResult Retiler::checkBegin(Value begin) {
  if (!begins.insert(begin).second)
    return success();
  for (OpOperand &use : begin.getUses())
    if (failed(checkBeginUse(use)))
      return failure();
  return success();
}

LogicalResult Retiler::checkBeginUse(OpOperand &use) {
  Operation *user = use.getOwner();
  auto refuse = [&]() -> LogicalResult {
    return user->emitError("uses where a tile begins for more than the tile's offsets and indices");
  };
  return llvm::TypeSwitch<Operation *, LogicalResult>(user)
      .Case<arith::IndexCastOp, arith::SubIOp, arith::AddIOp>([&](Operation *op) {
        bool isMinuend = !isa<arith::SubIOp>(op) || use.getOperandNumber() == 0;
        bool isAlone = llvm::none_of(op->getOpOperands(),
                                     [&](OpOperand &other) { return &other != &use && begins.contains(other.get()); });
        return isMinuend && isAlone ? checkBegin(op->getResult(0)) : refuse();
      })
      .Case([&](tensor::SplatOp splat) -> LogicalResult {
        for (OpOperand &each : splat->getUses()) {
          auto sum = dyn_cast<arith::AddIOp>(each.getOwner());
          if (!sum || !isMember(Slot(each), 0) ||
              !sum->getOperand(1 - each.getOperandNumber()).getDefiningOp<tile::IotaOp>())
            return each.getOwner()->emitError("uses where a tile begins without tile.iota of the tile's dimension");
        }
        return success();
      })
      .Case<tile::LoadOp, tile::StoreOp, tile::GatherOp, tile::ScatterOp>([](Operation *) {
        return success(); // see checkAccess
      })
      .Default([&](Operation *) { return refuse(); });
}

/// Of an access at `offsets`, one for each dimension of the view (null: by an index tile): the tiles' dimension begins
/// at a tile's begin, no other does, and elements past the end have no effect.
LogicalResult Retiler::checkAccess(Operation *op, tile::ViewType view, Slot tile, ValueRange offsets) {
  int64_t leading = view.getRank() - tile.rank;
  for (auto [i, offset] : llvm::enumerate(offsets)) {
    if (!offset)
      continue;
    int64_t dim = static_cast<int64_t>(i) - leading;
    bool changes = dim >= 0 && isMember(tile, dim);
    if (changes != begins.contains(offset)) {
      InFlightDiagnostic error = op->emitError("has an offset in dimension ") << i << " of the view ";
      return changes ? error << "that is not where a tile begins, and a tile of another size along it"
                     : error << "that is where a tile begins, and no tile along it";
    }
    if (changes && ShapedType::isDynamic(view.getShape()[i]) && !view.getExtent())
      return op->emitError("may reach past the end of ") << view << ", whose dimension " << i << " has no size";
  }
  return success();
}

LogicalResult Retiler::checkAccesses() {
  WalkResult walk = program.walk([&](Operation *op) {
    auto check = [&](auto access, Slot tile, ValueRange offsets) {
      return checkAccess(op, access.getView().getType(), tile, offsets);
    };
    LogicalResult result =
        llvm::TypeSwitch<Operation *, LogicalResult>(op)
            .Case([&](tile::LoadOp load) { return check(load, Slot(load.getResult()), load.getOffsets()); })
            .Case([&](tile::StoreOp store) { return check(store, Slot(store.getValueMutable()), store.getOffsets()); })
            .Case([&](tile::GatherOp gather) {
              SmallVector<Value> offsets(gather.getView().getType().getRank());
              offsets.back() = gather.getColumn();
              return check(gather, Slot(gather.getResult()), offsets);
            })
            .Case([&](tile::ScatterOp scatter) {
              SmallVector<Value> offsets(scatter.getView().getType().getRank());
              offsets.back() = scatter.getColumn();
              return check(scatter, Slot(scatter.getValueMutable()), offsets);
            })
            .Default([](Operation *) { return success(); });
    return failed(result) ? WalkResult::interrupt() : WalkResult::advance();
  });
  return failure(walk.wasInterrupted());
}

//===----------------------------------------------------------------------===//
// The change
//===----------------------------------------------------------------------===//

static void eraseIfUnused(Value value) {
  Operation *op = value.getDefiningOp();
  if (op && isOpTriviallyDead(op))
    op->erase();
}

/// Puts a constant of the type of operand `i` of `op` in its place.
static void setConstant(Operation *op, unsigned i, int64_t number) {
  OpBuilder builder(op);
  Value old = op->getOperand(i);
  op->setOperand(i, arith::ConstantOp::create(builder, op->getLoc(), builder.getIntegerAttr(old.getType(), number)));
  eraseIfUnused(old);
}

void Retiler::resize(Operation *generator, unsigned members) const {
  RankedTensorType type = retyped(cast<RankedTensorType>(generator->getResult(0).getType()), members);
  if (auto constant = dyn_cast<arith::ConstantOp>(generator))
    constant.setValueAttr(cast<DenseElementsAttr>(constant.getValue()).resizeSplat(type));
  generator->getResult(0).setType(type);
}

/// Uses of one constant may need different shapes.
void Retiler::retypeGenerator(Operation *op) {
  std::map<unsigned, SmallVector<OpOperand *>> usesOfMembers;
  for (OpOperand &use : op->getResult(0).getUses())
    usesOfMembers[membersOf(Slot(use))].push_back(&use);
  bool isShared = usesOfMembers.size() > 1;
  for (auto &[members, uses] : usesOfMembers) {
    if (members == 0)
      continue;
    Operation *own = op;
    if (isShared) {
      own = OpBuilder(op).clone(*op);
      for (OpOperand *use : uses)
        use->set(own->getResult(0));
    }
    resize(own, members);
  }
  if (isShared)
    eraseIfUnused(op->getResult(0));
}

void Retiler::retypeTiles() {
  SmallVector<Operation *> generators;
  auto retype = [&](Value value) {
    if (auto type = dyn_cast<RankedTensorType>(value.getType()))
      value.setType(retyped(type, membersOf(Slot(value))));
  };
  program.walk([&](Operation *op) {
    if (isTileGenerator(op)) {
      generators.push_back(op);
      return;
    }
    llvm::for_each(op->getResults(), retype);
    for (Region &region : op->getRegions())
      for (Block &block : region)
        llvm::for_each(block.getArguments(), retype);
  });
  for (Operation *op : generators)
    retypeGenerator(op);
}

void Retiler::changeLoop() {
  scf::ForOp loop = retiling.loop;
  if (arith::MulIOp bound = roundedDown(loop.getLowerBound(), size)) {
    setConstant(bound.getLhs().getDefiningOp(), 1, retiling.size);
    setConstant(bound, 1, retiling.size);
  }
  setConstant(loop, loop.getStepMutable().getOperandNumber(), retiling.size);
}

void Retiler::changeGrid() {
  unsigned dim = *retiling.grid;
  AffineMap grid = program.getGrid();
  SmallVector<AffineExpr> exprs(grid.getResults());
  exprs[dim] = blocks;
  program.setGridAttr(
      AffineMapAttr::get(AffineMap::get(grid.getNumDims(), grid.getNumSymbols(), exprs, program.getContext())));
  for (arith::MulIOp product : products)
    setConstant(product, getConstantIntValue(product.getRhs()) == size ? 1 : 0, retiling.size);
  if (size != 1)
    return;
  program.walk([&](tile::ProgramIdOp id) {
    if (id.getDimension() != dim)
      return;
    OpBuilder builder(id->getContext());
    builder.setInsertionPointAfter(id);
    Value length = arith::ConstantIndexOp::create(builder, id.getLoc(), retiling.size);
    auto begin = arith::MulIOp::create(builder, id.getLoc(), id, length);
    id.getResult().replaceAllUsesExcept(begin, begin);
  });
}

LogicalResult Retiler::run() {
  if (retiling.size < 1)
    return program.emitError("has no tiles of ") << retiling.size << " elements, expected at least 1";
  if (size == retiling.size)
    return success();
  if (retiling.loop && failed(checkLoop()))
    return failure();
  if (retiling.grid && failed(checkGrid()))
    return failure();
  for (const auto &[slot, dim, op] : dimensions.getFixed())
    if (isMember(slot, dim))
      return op->emitError("has a dimension of ") << size << " whose size cannot change";
  if (failed(checkAccesses()))
    return failure();
  retypeTiles();
  if (retiling.loop)
    changeLoop();
  if (retiling.grid)
    changeGrid();
  return success();
}

LogicalResult inlay::retile(tile::ProgramOp program, const Retiling &retiling) {
  return Retiler(program, retiling).run();
}
