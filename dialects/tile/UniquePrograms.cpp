//===- UniquePrograms.cpp - programs of the same text become one ----------===//

#include "dialects/tile/UniquePrograms.h"

using namespace mlir;
using namespace inlay::tile;

StringAttr UniquePrograms::insert(ProgramOp program, const llvm::Twine &name, SymbolTable &symbols) {
  std::string unique = name.str();
  program.setSymName("program");
  Attribute origin = program->removeAttr(kOriginAttr);
  std::string text;
  llvm::raw_string_ostream stream(text);
  program.print(stream, OpPrintingFlags().enableDebugInfo(false).useLocalScope());
  StringAttr &symbol = symbolOfText[text];
  if (symbol) {
    program->erase();
    return symbol;
  }
  if (program->getBlock())
    program->remove();
  program.setSymName(unique);
  if (origin)
    program->setAttr(kOriginAttr, origin);
  return symbol = symbols.insert(program);
}
