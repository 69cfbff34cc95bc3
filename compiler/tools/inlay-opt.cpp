//===- inlay-opt.cpp - runs passes on a file -------------------------------===//

#include "compiler/pipelines/Registration.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  inlay::registerAllDialects(registry);
  inlay::registerAllPasses();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "Inlay's optimizer driver\n", registry));
}
