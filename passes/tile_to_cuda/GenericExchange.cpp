//===- GenericExchange.cpp - tiles that are summed over ranks -------------===//
//
// tile.receive_sum by the functions of codegen/device/peers.h. Rounds begin at the op and end with the kernel.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/GenericLowering.h"

using namespace mlir;
using namespace inlay;

LogicalResult GenericLowering::receiveSum(tile::ReceiveSumOp op) {
  Layout layout = registerLayout(op.getResult());
  RankedTensorType type = tileType(op.getResult());
  tile::ViewType view = op.getView().getType();
  std::string ranks = "<" + std::to_string(op.getExchange().getRanks()) + ">";
  auto named = [&](StringRef name) { return NameLoc::get(b.getStringAttr(name), loc); };
  // This rank's rows are on their way while the table is read.
  Value own = loadArray(op);
  Type roundType = cuda::OpaqueType::get(b.getContext(), "Round" + ranks);
  Value round = cuda::LocalOp::create(b, named("round"), cuda::LocalType::get(b.getContext(), {}, roundType), Value());
  Value begun = cuda::CallOp::create(b, named("begun"), roundType, "begin_round" + ranks, "peers.h",
                                     ValueRange{kernel.getBody().front().getArguments().back()})
                    .getResult();
  cuda::SetOp::create(b, loc, begun, round, ValueRange{});
  int64_t rowBytes = view.getShape()[1] * bytesOf(type.getElementType());
  Value rows = cuda::SizeOp::create(b, loc, b.getIndexType(), static_cast<int64_t>(*view.getExtent()));
  Value slot = mul(arith::IndexCastOp::create(b, named("slot"), b.getI64Type(), rows), rowBytes);

  int64_t width = tile::kExchangeWordBytes / bytesOf(type.getElementType());
  auto forPieces = [&](function_ref<void(Value, Value, Value)> body) {
    unrolled(llvm::divideCeil(liveRegisters(layout, type.getShape()), width), [&](Value i) {
      Value reg = mul(i, width);
      auto [offset, inside] = place(op, op.getView(), op.getOffsets(), {}, layout, type.getShape(), reg);
      body(reg, offset, inside);
    });
  };
  Value holder = onlyOneHolder(layout);
  forPieces([&](Value reg, Value offset, Value inside) {
    Value isFirst = both(holder, inside);
    call("push_piece", "peers.h", {round, address(own, reg), slot, offset, isFirst ? isFirst : always()});
  });
  call("clear_previous", "peers.h", {round});
  Value sum = local(layout.size(LayoutDim::Register), type.getElementType(), "sum");
  forPieces([&](Value reg, Value offset, Value inside) {
    call("receive_piece", "peers.h", {round, address(sum, reg), address(own, reg), slot, offset, inside ? inside : always()});
  });
  define(op.getResult(), sum);
  mayStore = call("is_complete", "peers.h", {round}, b.getI1Type());
  exchange = Exchange{round, mul(slot, op.getExchange().getRanks())};
  return success();
}

/// All threads of the block have received their pieces; the last block to come here lets the next round begin.
void GenericLowering::endExchange() {
  if (exchange)
    call("end_round", "peers.h", {exchange->round, exchange->bytes});
}
