//===- LowerCollective.cpp - the kernel of a collective --------------------===//
//
// Threads take words of 16 bytes, whatever rows they are of, so nothing here is a tile.
// The kernel calls the protocol of codegen/device/peers.h for all rows of the step, and
// chooses by their number how sums go around. A gather of many rows has several rounds.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/CreateKernel.h"
#include "passes/tile_to_cuda/KernelBuilder.h"

using namespace mlir;
using namespace inlay;

LogicalResult inlay::lowerCollective(tile::CollectiveOp collective, OpBuilder &builder) {
  auto program = collective->getParentOfType<tile::ProgramOp>();
  tile::TargetAttr target = tile::targetOf(program);
  FailureOr<cuda::KernelOp> kernel = createKernel(program, builder, collective.getThreads(target));
  if (failed(kernel))
    return failure();
  KernelBuilder k(builder.getUnknownLoc(), kernel->getContext());
  Block &body = kernel->getBody().front();
  k.setInsertionPoint(body.getTerminator());
  auto argument = [&](Value view) -> Value { return body.getArgument(cast<BlockArgument>(view).getArgNumber()); };
  Value input = argument(collective.getInput()), output = argument(collective.getOutput());
  Value peers = body.getArguments().back();
  tile::ViewType from = collective.getInput().getType(), to = collective.getOutput().getType();
  Value rows = k.name("rows", k.size(static_cast<int64_t>(*from.getExtent())));
  int64_t ranks = collective.getExchangeAttr().getRanks(), columns = from.getShape()[1];
  auto run = [&](StringRef function, StringRef header, ValueRange sizes) {
    SmallVector<Value> inputs{output, input, peers};
    inputs.append(sizes.begin(), sizes.end());
    k.call(function + "<" + Twine(ranks) + ">", header, inputs);
  };
  if (collective.getKind() == tile::CollectiveKind::AllGather) {
    run("all_gather", "all_gather.h",
        {rows, k.index(columns), k.index(to.getShape()[1]), k.index(collective.getRoundRows(target))});
    return success();
  }
  int64_t oneShotRows = collective.getOneShotRows(target);
  Value count = k.name("count", k.mul(rows, columns));
  if (collective.getExchangeAttr().getRows() <= oneShotRows)
    run("all_reduce_one_shot", "peers.h", count);
  else
    k.ifThen(
        k.less(rows, oneShotRows + 1), [&] { run("all_reduce_one_shot", "peers.h", count); },
        [&] { run("all_reduce_two_shot", "peers.h", count); });
  return success();
}
