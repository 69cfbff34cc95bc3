//===- Steps.cpp - entry points and what their launches are given ----------===//
//
// Syntax and verifiers of #tile.memory, tile.entry and tile.launch.
//
//===----------------------------------------------------------------------===//

#include "dialects/tile/Collective.h"
#include "dialects/tile/Tile.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"

using namespace mlir;
using namespace inlay::tile;

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

FailureOr<MemoryAttr> MemoryAttr::parseBody(AsmParser &parser) {
  SMLoc loc = parser.getCurrentLocation();
  StringRef keyword;
  if (parser.parseKeyword(&keyword))
    return failure();
  std::optional<MemoryKind> kind = symbolizeMemoryKind(keyword);
  if (!kind)
    return parser.emitError(loc) << "'" << keyword
                                 << "' is no kind of memory, expected workspace, weight, metadata, key_cache, "
                                    "value_cache, logits, tokens or rank";
  int64_t number = 0;
  FlatSymbolRefAttr weight;
  switch (*kind) {
  case MemoryKind::Workspace:
  case MemoryKind::KeyCache:
  case MemoryKind::ValueCache:
    if (parser.parseInteger(number))
      return failure();
    break;
  case MemoryKind::Weight: {
    StringAttr symbol;
    if (parser.parseSymbolName(symbol))
      return failure();
    weight = FlatSymbolRefAttr::get(symbol);
    break;
  }
  case MemoryKind::Metadata: {
    SMLoc at = parser.getCurrentLocation();
    StringRef name;
    if (parser.parseKeyword(&name))
      return failure();
    std::optional<Metadata> metadata = symbolizeMetadata(name);
    if (!metadata)
      return parser.emitError(at) << "'" << name << "' is no array of metadata (enum Metadata of plan.fbs)";
    number = static_cast<int64_t>(*metadata);
    break;
  }
  case MemoryKind::Logits:
  case MemoryKind::Tokens:
  case MemoryKind::Rank:
    break;
  }
  MemoryAttr memory = getChecked([&] { return parser.emitError(loc); }, parser.getContext(), *kind, number, weight);
  if (!memory)
    return failure();
  return memory;
}

void MemoryAttr::printBody(AsmPrinter &printer) const {
  printer << stringifyMemoryKind(getKind());
  switch (getKind()) {
  case MemoryKind::Workspace:
  case MemoryKind::KeyCache:
  case MemoryKind::ValueCache:
    printer << ' ' << getNumber();
    break;
  case MemoryKind::Weight:
    printer << ' ';
    printer.printSymbolName(getWeight().getValue());
    break;
  case MemoryKind::Metadata:
    printer << ' ' << stringifyMetadata(getMetadata());
    break;
  case MemoryKind::Logits:
  case MemoryKind::Tokens:
  case MemoryKind::Rank:
    break;
  }
}

Attribute MemoryAttr::parse(AsmParser &parser, Type) {
  if (parser.parseLess())
    return {};
  FailureOr<MemoryAttr> memory = parseBody(parser);
  if (failed(memory) || parser.parseGreater())
    return {};
  return *memory;
}

void MemoryAttr::print(AsmPrinter &printer) const {
  printer << '<';
  printBody(printer);
  printer << '>';
}

LogicalResult MemoryAttr::verify(function_ref<InFlightDiagnostic()> emitError, MemoryKind kind, int64_t number,
                                 FlatSymbolRefAttr weight) {
  if ((kind == MemoryKind::Weight) != static_cast<bool>(weight))
    return emitError() << stringifyMemoryKind(kind) << " memory has " << (weight ? "a" : "no") << " symbol of a weight";
  if (number < 0)
    return emitError() << (kind == MemoryKind::Workspace ? "an offset into the workspace" : "a layer")
                       << " is at least 0, found " << number;
  return success();
}

bool MemoryAttr::holds(Provenance provenance) const {
  switch (getKind()) {
  case MemoryKind::Weight:
    return provenance == Provenance::Weight;
  case MemoryKind::Metadata:
  case MemoryKind::Rank:
    return provenance == Provenance::Meta;
  case MemoryKind::KeyCache:
  case MemoryKind::ValueCache:
    return provenance == Provenance::Kv;
  case MemoryKind::Workspace:
  case MemoryKind::Logits:
  case MemoryKind::Tokens:
    return provenance == Provenance::Activation || provenance == Provenance::State || provenance == Provenance::Output;
  }
  llvm_unreachable("unknown kind of memory");
}

//===----------------------------------------------------------------------===//
// Entries
//===----------------------------------------------------------------------===//

LogicalResult EntryOp::verify() {
  struct Size {
    StringRef name;
    int64_t value, least;
  };
  for (const Size &size : {Size{"max_tokens", static_cast<int64_t>(getMaxTokens()), 1},
                           Size{"max_sequences", static_cast<int64_t>(getMaxSequences()), 1},
                           Size{"query_tile_rows", static_cast<int64_t>(getQueryTileRows()), 1},
                           Size{"workspace_bytes", static_cast<int64_t>(getWorkspaceBytes()), 0}})
    if (size.value < size.least)
      return emitOpError() << "has " << size.name << " of " << size.value << ", expected at least " << size.least;
  if (getMaxSequences() > getMaxTokens())
    return emitOpError() << "takes " << getMaxSequences() << " sequences in steps of " << getMaxTokens()
                         << " rows; a sequence has at least one";
  if (getKind() == EntryKind::Decode && (getMaxTokens() != getMaxSequences() || getQueryTileRows() != 1))
    return emitOpError() << "of the kind decode has a row for each sequence, found " << getMaxTokens() << " rows for "
                         << getMaxSequences() << " sequences in query tiles of " << getQueryTileRows();
  for (Operation &op : getBody().front())
    if (!isa<LaunchOp>(op))
      return op.emitOpError() << "stands in a tile.entry, which holds tile.launch only";
  return success();
}

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &symbols) {
  Operation *target = symbols.lookupNearestSymbolFrom(*this, getProgramAttr());
  if (!target)
    return emitOpError() << "launches '" << getProgram() << "', which is no symbol of the module";
  // A kernel of the target, once the program is lowered.
  auto function = dyn_cast<FunctionOpInterface>(target);
  if (!function)
    return emitOpError() << "launches '" << getProgram() << "', which is no program but a '" << target->getName()
                         << "'";
  auto program = dyn_cast<ProgramOp>(target);
  if (!program)
    return success();
  if (getArguments().size() != program.getNumArguments())
    return emitOpError() << "gives " << getArguments().size() << " arguments to '" << getProgram() << "', which has "
                         << program.getNumArguments();
  for (auto [i, memory, type] : llvm::enumerate(getArguments().getAsRange<MemoryAttr>(), program.getArgumentTypes())) {
    auto view = cast<ViewType>(type);
    if (!memory.holds(view.getProvenance()))
      return emitOpError() << "gives " << memory << " to argument " << i << " of '" << getProgram() << "', a " << view;
    if (FlatSymbolRefAttr weight = memory.getWeight(); weight && !symbols.lookupNearestSymbolFrom(*this, weight))
      return emitOpError() << "gives the weight " << weight << ", which is no symbol of the module";
  }
  return verifyEarlyLaunch(*this, program, symbols);
}
