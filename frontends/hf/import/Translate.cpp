//===- Translate.cpp - `inlay-translate --hf-to-llm` -----------------------===//

#include "frontends/hf/import/Import.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/Tools/mlir-translate/Translation.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;
using namespace inlay::hf;

/// The module of the config.json in the main buffer; weights are not looked at.
static OwningOpRef<Operation *> translateConfig(llvm::SourceMgr &sources, MLIRContext *context) {
  const llvm::MemoryBuffer *buffer = sources.getMemoryBuffer(sources.getMainFileID());
  StringRef text = buffer->getBuffer(), file = buffer->getBufferIdentifier();
  Problems problems;
  std::optional<ModelConfig> config = ParseConfig(text, file, ModelOptions(), problems);
  for (const Problem &problem : problems.items()) {
    auto kind = problem.severity == Severity::kError ? DiagnosticSeverity::Error : DiagnosticSeverity::Warning;
    context->getDiagEngine().emit(UnknownLoc::get(context), kind) << problem.ToString();
  }
  if (!config)
    return {};
  return importHuggingFace(*context, *config);
}

void inlay::hf::registerHuggingFaceTranslation() {
  static TranslateToMLIRRegistration registration("hf-to-llm", "the llm dialect of a Hugging Face config.json",
                                                  TranslateRawSourceMgrToMLIRFunction(translateConfig),
                                                  [](DialectRegistry &registry) {});
}
