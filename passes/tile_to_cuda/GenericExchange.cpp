//===- GenericExchange.cpp - tiles that are summed over ranks -------------===//
//
// tile.receive_sum by the functions of codegen/device/peers.h. Rounds begin at the op, or
// where the kernel starts (beginsEarly), and end with the kernel. And what a store pushes
// for the kernel of the sum that follows.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/GenericLowering.h"
#include "llvm/Support/SaveAndRestore.h"

using namespace mlir;
using namespace inlay;

/// The bytes that a rank has of the rows of `view` in the step (i64).
Value TileValues::slotOf(tile::ViewType view) {
  Value rows = cuda::SizeOp::create(b, loc, b.getIndexType(), static_cast<int64_t>(*view.getExtent()));
  auto name = NameLoc::get(b.getStringAttr("slot"), loc);
  return mul(arith::IndexCastOp::create(b, name, b.getI64Type(), rows),
             view.getShape()[1] * bytesOf(view.getElementType()));
}

/// Whether the warps of a block receive parts of a row, and multiply it then.
static bool isInWarps(tile::ReceiveSumOp op) { return isa<tile::ForWarpsOp>(op->getParentOp()); }

/// Whether the kernel begins its round, and receives, before earlier launches have ended. Of these, only that which
/// pushes the rows may run. It has no other results, and reads the table of peers as well.
bool GenericLowering::beginsEarly() {
  tile::ReceiveSumOp sum = receivedSum;
  return sum && sum.getEarly();
}

/// `name`<ranks>: a function or a type of peers.h.
static std::string ofRanks(StringRef name, tile::ExchangeAttr exchange) {
  return (name + "<" + llvm::Twine(exchange.getRanks()) + ">").str();
}

/// A variable of a type of peers.h.
Value GenericLowering::exchangeVariable(StringRef name, Type type) {
  return cuda::LocalOp::create(b, NameLoc::get(b.getStringAttr(name), loc),
                               cuda::LocalType::get(b.getContext(), {}, type), Value());
}

/// Reads the table of peers.
void GenericLowering::beginExchange() {
  tile::ReceiveSumOp sum = receivedSum;
  tile::ExchangeAttr exchange = sum.getExchange();
  Type type = cuda::OpaqueType::get(b.getContext(), ofRanks("Round", exchange));
  round = exchangeVariable("round", type);
  auto begun =
      cuda::CallOp::create(b, NameLoc::get(b.getStringAttr("begun"), loc), type, ofRanks("begin_round", exchange),
                           "peers.h", ValueRange{kernel.getBody().front().getArguments().back()}, isEarly);
  cuda::SetOp::create(b, loc, begun.getResult(), round, ValueRange{});
}

/// Counts the block among those that have read the table, and restores the buffer of the round before.
void GenericLowering::arriveAndClear() {
  if (!isInWarps(receivedSum))
    call("arrive", "peers.h", {round});
  call("clear_previous", "peers.h", {round});
}

LogicalResult GenericLowering::receiveSum(tile::ReceiveSumOp op) {
  Layout layout = registerLayout(op.getResult());
  RankedTensorType type = tileType(op.getResult());
  tile::ViewType view = op.getView().getType();
  if (b.getInsertionBlock() != &kernel.getBody().front())
    return op.emitOpError(
        "is received in a loop, a branch or by a part of the warps; expected all threads of a block, once");
  // This rank's rows are on their way while the table is read, unless they come as those of the others do.
  Value own = beginsEarly() ? Value() : loadArray(op);
  if (!round)
    beginExchange();
  Value slot = slotOf(view);
  llvm::SaveAndRestore early(isEarly, beginsEarly());

  int64_t width = tile::kExchangeWordBytes / bytesOf(type.getElementType());
  auto forPieces = [&](function_ref<void(Value, Value, Value)> body) {
    unrolled(llvm::divideCeil(liveRegisters(layout, type.getShape()), width), [&](Value i) {
      Value reg = mul(i, width);
      auto [offset, inside] = place(op, op.getView(), op.getOffsets(), {}, layout, type.getShape(), reg);
      body(reg, offset, inside);
    });
  };
  if (!op.getPushed()) {
    Value holder = onlyOneHolder(layout);
    forPieces([&](Value reg, Value offset, Value inside) {
      Value isFirst = both(holder, inside);
      call("push_piece", "peers.h", {round, address(own, reg), slot, offset, isFirst ? isFirst : always()});
    });
  }
  if (!beginsEarly())
    arriveAndClear();
  Value sum = local(layout.size(LayoutDim::Register), type.getElementType(), "sum");
  if (isInWarps(op)) {
    int64_t pieces = llvm::divideCeil(liveRegisters(layout, type.getShape()), width);
    Value offsets = local(pieces, b.getI64Type(), "offsets"), present = local(pieces, b.getI1Type(), "present");
    forPieces([&](Value reg, Value offset, Value inside) {
      Value piece = arith::DivUIOp::create(b, loc, reg, index(width));
      set(offset, offsets, piece);
      set(inside ? inside : always(), present, piece);
    });
    call("receive_pieces<" + std::to_string(pieces) + ">", "peer_rows.h",
         {round, address(sum, index(0)), address(own, index(0)), slot, address(offsets, index(0)),
          address(present, index(0))});
  } else {
    forPieces([&](Value reg, Value offset, Value inside) {
      Value present = inside ? inside : always();
      if (own)
        call("receive_piece", "peers.h", {round, address(sum, reg), address(own, reg), slot, offset, present});
      else
        call("receive_pushed", "peers.h", {round, address(sum, reg), slot, offset, present});
    });
  }
  define(op.getResult(), sum);
  mayStore = call("is_complete", "peers.h", {round}, b.getI1Type());
  return success();
}

/// The op at which threads come to the first store that pushes: the one of the innermost block that has all of them. A
/// product with two tiles of sums stores each in a loop of its own.
static Operation *firstOfPushes(tile::StoreOp first, tile::ProgramOp program) {
  Block *block = first->getBlock();
  program.walk([&](tile::StoreOp store) {
    while (store.getExchange() && !block->findAncestorOpInBlock(*store))
      block = block->getParentOp()->getBlock();
  });
  return block->findAncestorOpInBlock(*first);
}

/// Where threads read the table of a kernel that pushes, not before earlier launches have ended: in the roles of warps
/// that multiply and then push, at their start; otherwise behind the loops that compute the tile, so that it is on its
/// way while the tile's parts are added. Null if nothing is pushed.
Operation *GenericLowering::placeOfPushes() {
  if (!push)
    return nullptr;
  Operation *op = program.getBody().front().findAncestorOpInBlock(*push.getOperation());
  if (op->walk([](tile::DependOp) { return WalkResult::interrupt(); }).wasInterrupted())
    return firstOfPushes(push, program);
  auto warps = dyn_cast<tile::ForWarpsOp>(op);
  auto roles = op->getBlock()->getOps<tile::WarpRolesOp>();
  if (warps && !roles.empty() && warps.getCount() == (*roles.begin()).getConsumers())
    return *roles.begin();
  auto isBehind = [](Operation *other) { return other->getNumRegions() > 0 || isa<tile::DependOp>(other); };
  Operation *first = op;
  while (Operation *before = first->getPrevNode()) {
    if (isBehind(before))
      return first;
    first = before;
  }
  return op;
}

Type GenericLowering::pushesType() {
  return cuda::OpaqueType::get(b.getContext(), ofRanks("Pushes", *push.getExchange()));
}

/// A Pushes of peers.h as a kernel is given it by its table.
Value GenericLowering::beginPushes() {
  auto name = NameLoc::get(b.getStringAttr("pushes"), loc);
  Value table = kernel.getBody().front().getArguments().back();
  return cuda::CallOp::create(b, name, pushesType(), ofRanks("begin_pushes", *push.getExchange()), "peers.h",
                              ValueRange{table, slotOf(push.getView().getType())})
      .getResult();
}

/// All threads of the block have received their pieces; the last block lets the next round begin. Where products
/// follow, what the end needs is not kept but computed or read again.
void GenericLowering::endExchange() {
  if (!round)
    return;
  tile::ReceiveSumOp sum = receivedSum;
  Value bytes = mul(slotOf(sum.getView().getType()), sum.getExchange().getRanks());
  SmallVector<Value> operands{kernel.getBody().front().getArguments().back(), bytes};
  if (!isInWarps(sum))
    operands.insert(operands.begin(), round);
  call("end_round", "peers.h", operands);
}
