//===- GenericExchange.cpp - tiles that are summed over ranks -------------===//
//
// tile.receive_sum by the functions of codegen/device/peers.h. Rounds begin at the op and end with the kernel. And what
// a store pushes for the kernel of the sum that follows.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/GenericLowering.h"

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

LogicalResult GenericLowering::receiveSum(tile::ReceiveSumOp op) {
  Layout layout = registerLayout(op.getResult());
  RankedTensorType type = tileType(op.getResult());
  tile::ViewType view = op.getView().getType();
  std::string ranks = "<" + std::to_string(op.getExchange().getRanks()) + ">";
  auto named = [&](StringRef name) { return NameLoc::get(b.getStringAttr(name), loc); };
  if (b.getInsertionBlock() != &kernel.getBody().front())
    return op.emitOpError(
        "is received in a loop, a branch or by a part of the warps; expected all threads of a block, once");
  // This rank's rows are on their way while the table is read.
  Value own = loadArray(op);
  Type roundType = cuda::OpaqueType::get(b.getContext(), "Round" + ranks);
  Value round = cuda::LocalOp::create(b, named("round"), cuda::LocalType::get(b.getContext(), {}, roundType), Value());
  Value begun = cuda::CallOp::create(b, named("begun"), roundType, "begin_round" + ranks, "peers.h",
                                     ValueRange{kernel.getBody().front().getArguments().back()})
                    .getResult();
  cuda::SetOp::create(b, loc, begun, round, ValueRange{});
  Value slot = slotOf(view);

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
  call("clear_previous", "peers.h", {round});
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
      call("receive_piece", "peers.h",
           {round, address(sum, reg), address(own, reg), slot, offset, inside ? inside : always()});
    });
  }
  define(op.getResult(), sum);
  mayStore = call("is_complete", "peers.h", {round}, b.getI1Type());
  exchange = Exchange{round, mul(slot, op.getExchange().getRanks())};
  return success();
}

/// Where threads read the table of a kernel that pushes: behind the loops and roles that compute the tile, so that it
/// is on its way while the tile's parts are added, and not before earlier launches have ended. Null if nothing is
/// pushed.
Operation *GenericLowering::placeOfPushes() {
  if (!push)
    return nullptr;
  Operation *op = program.getBody().front().findAncestorOpInBlock(*push.getOperation());
  if (op->walk([](tile::DependOp) { return WalkResult::interrupt(); }).wasInterrupted())
    return push;
  auto isBehind = [](Operation *other) { return other->getNumRegions() > 0 || isa<tile::DependOp>(other); };
  Operation *first = op;
  while (Operation *before = first->getPrevNode()) {
    if (isBehind(before))
      return first;
    first = before;
  }
  return op;
}

void GenericLowering::beginPushes() {
  std::string ranks = "<" + std::to_string(push.getExchange()->getRanks()) + ">";
  Type type = cuda::OpaqueType::get(b.getContext(), "Pushes" + ranks);
  auto name = NameLoc::get(b.getStringAttr("pushes"), loc);
  Value table = kernel.getBody().front().getArguments().back();
  pushes = cuda::CallOp::create(b, name, type, "begin_pushes" + ranks, "peers.h",
                                ValueRange{table, slotOf(push.getView().getType())})
               .getResult();
}

/// All threads of the block have received their pieces; the last block to come here lets the next round begin. Where
/// products follow, what the end needs is not kept but computed or read again.
void GenericLowering::endExchange() {
  if (!exchange)
    return;
  tile::ReceiveSumOp sum = receivedSum;
  if (isInWarps(sum))
    call("end_round", "peers.h",
         {kernel.getBody().front().getArguments().back(),
          mul(slotOf(sum.getView().getType()), sum.getExchange().getRanks())});
  else
    call("end_round", "peers.h", {exchange->round, exchange->bytes});
}
