//===- CompileKernels.cpp - tile programs to CUDA kernels ------------------===//

#include "codegen/emit/CompileKernels.h"

#include "codegen/emit/Nvrtc.h"
#include "codegen/emit/PrintCuda.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/LocationSnapshot.h"
#include "passes/tile/LibraryProduct.h"
#include "passes/tile_to_cuda/Pipelines.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/ThreadPool.h"

using namespace mlir;
using namespace inlay;

/// Refuses what would run, but badly.
static LogicalResult checkQuality(cuda::KernelOp kernel, const CompiledCuda &compiled) {
  if (compiled.spillBytes > 0)
    return kernel.emitError() << cuda::describe(kernel) << " spills " << compiled.spillBytes << " bytes at "
                              << compiled.registers << " registers a thread of " << kernel.getThreads()
                              << "; use a smaller tile or more threads";
  if (compiled.serializedWgmma)
    return kernel.emitError() << cuda::describe(kernel) << " has wgmma instructions that ptxas serialised:\n"
                              << compiled.log;
  tile::TargetAttr target = tile::targetOf(kernel);
  if (int64_t bytes = compiled.staticSharedBytes + kernel.getSharedBytes(); bytes > target.getBlockSharedBytes())
    return kernel.emitError() << cuda::describe(kernel) << " needs " << bytes << " bytes of shared memory, a block has "
                              << target.getBlockSharedBytes() << "; use smaller tiles or fewer stages";
  return success();
}

/// Compiles the kernels' sources, each distinct one once, several at a time.
static LogicalResult compileSources(MutableArrayRef<CudaKernel> kernels, const CudaOptions &options) {
  llvm::Expected<std::unique_ptr<Nvrtc>> nvrtc = Nvrtc::load(options.nvrtcPath);
  if (!nvrtc)
    return emitError(kernels.front().op.getLoc()) << llvm::toString(nvrtc.takeError());
  struct Result {
    CompiledCuda compiled;
    std::string error;
  };
  std::vector<Result> results(kernels.size());
  std::vector<size_t> compiledAs(kernels.size());
  llvm::StringMap<size_t> seen;
  {
    llvm::DefaultThreadPool pool(llvm::hardware_concurrency(options.threads));
    for (size_t i = 0; i < kernels.size(); ++i) {
      compiledAs[i] = seen.try_emplace(kernels[i].source, i).first->second;
      if (compiledAs[i] == i)
        pool.async([&, i] {
          llvm::Expected<CompiledCuda> compiled =
              (*nvrtc)->compile(kernels[i].op.getSymName().str(), kernels[i].source, options.arch);
          if (compiled)
            results[i].compiled = std::move(*compiled);
          else
            results[i].error = llvm::toString(compiled.takeError());
        });
    }
    pool.wait();
  }
  LogicalResult status = success();
  for (size_t i = 0; i < kernels.size(); ++i) {
    const Result &result = results[compiledAs[i]];
    cuda::KernelOp kernel = kernels[i].op;
    if (!result.error.empty()) {
      status = kernel.emitError() << cuda::describe(kernel) << ": " << result.error;
      continue;
    }
    if (failed(checkQuality(kernel, result.compiled)))
      status = failure();
    kernels[i].ptx = result.compiled.ptx;
    kernels[i].cubin = result.compiled.cubin;
    kernels[i].registers = result.compiled.registers;
    kernels[i].spillBytes = result.compiled.spillBytes;
    kernels[i].nvrtcMilliseconds = compiledAs[i] == i ? result.compiled.milliseconds : 0;
  }
  return status;
}

/// Prints the kernels' IR and makes each operation's location its line in `file`; names stay.
static std::string printIr(ModuleOp module, StringRef file) {
  SmallVector<StringAttr> names;
  module.walk([&](Operation *op) {
    auto named = op->getLoc()->findInstanceOf<NameLoc>();
    names.push_back(named ? named.getName() : StringAttr());
  });
  std::string text;
  llvm::raw_string_ostream os(text);
  generateLocationsFromIR(os, file, module, OpPrintingFlags());
  auto next = names.begin();
  module.walk([&](Operation *op) {
    if (StringAttr name = *next++)
      op->setLoc(NameLoc::get(name, op->getLoc()));
  });
  return text;
}

/// What becomes of a program before the printer.
static LogicalResult runPasses(ModuleOp kernels, const CudaOptions &options) {
  PassManager manager(kernels.getContext());
  manager.enableVerifier(false); // the caller does
  addTileToCudaPasses(manager, options.fillsEarly);
  return manager.run(kernels);
}

FailureOr<CudaKernels> inlay::compileCudaKernels(ModuleOp module, const CudaOptions &options) {
  CudaKernels result;
  result.module = ModuleOp::create(module.getLoc());
  if (Attribute target = module->getAttr(tile::kTargetAttr))
    result.module.get()->setAttr(tile::kTargetAttr, target);
  OpBuilder builder = OpBuilder::atBlockEnd(result.module->getBody());
  for (tile::ProgramOp program : module.getOps<tile::ProgramOp>())
    if (isCompiled(program))
      builder.clone(*program);
  if (failed(runPasses(*result.module, options)) || failed(verify(*result.module)))
    return failure();
  auto kernels = result.module->getOps<cuda::KernelOp>();
  if (kernels.empty())
    return result;
  if (!options.irName.empty())
    result.ir = printIr(*result.module, options.irName);
  for (cuda::KernelOp op : kernels) {
    CudaKernel &kernel = result.kernels.emplace_back();
    kernel.op = op;
    llvm::raw_string_ostream os(kernel.source);
    PrintCudaOptions printing;
    printing.lineDirectives = !options.irName.empty();
    if (failed(printCuda(op, os, printing)))
      return failure();
  }
  if (!options.sourceOnly && failed(compileSources(result.kernels, options)))
    return failure();
  return result;
}
