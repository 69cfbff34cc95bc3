//===- Registration.h - every dialect and pass, in one place ---------------===//

#ifndef INLAY_COMPILER_PIPELINES_REGISTRATION_H
#define INLAY_COMPILER_PIPELINES_REGISTRATION_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace inlay {

/// Adds the dialects of Inlay and those of MLIR that its programs use.
void registerAllDialects(mlir::DialectRegistry &registry);

/// Makes every pass of Inlay available by name.
void registerAllPasses();

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_REGISTRATION_H
