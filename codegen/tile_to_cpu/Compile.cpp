//===- Compile.cpp - tile programs to a shared library ---------------------===//

#include "codegen/tile_to_cpu/Compile.h"

#include "codegen/tile_to_cpu/Passes.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVMPass.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVMPass.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/Passes.h"
#include "runtime/support/cpu_features.h"
#include "llvm-c/Transforms/PassBuilder.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"

using namespace mlir;
using namespace inlay;

namespace {

/// What kernels are compiled for.
struct CpuTarget {
  std::unique_ptr<llvm::TargetMachine> machine;
  std::string tunedFor; // LLVM's name of the CPU whose speeds decide
  std::vector<std::string> features;
};

} // namespace

/// The CPU that the options name, with no feature that the runtime could not look for: all that the code may use stands
/// in `features`. Fails after a diagnostic.
static FailureOr<CpuTarget> createTarget(ModuleOp module, const CpuOptions &options) {
  llvm::InitializeNativeTarget();
  llvm::InitializeNativeTargetAsmPrinter();
  llvm::Triple triple(llvm::sys::getDefaultTargetTriple());
  std::string error;
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return module.emitError() << "LLVM cannot compile for " << triple.str() << ": " << error;
  CpuTarget result;
  result.tunedFor = options.cpu.empty() ? llvm::sys::getHostCPUName().str() : options.cpu;
  std::unique_ptr<llvm::MCSubtargetInfo> cpu(target->createMCSubtargetInfo(triple, "", ""));
  if (!cpu->isCPUStringValid(result.tunedFor))
    return module.emitError() << "LLVM knows no CPU '" << result.tunedFor << "' for " << triple.str()
                              << "; leave the CPU out for this host, or name one that 'llc -mcpu=help' lists";
  cpu.reset(target->createMCSubtargetInfo(triple, result.tunedFor, ""));
  std::string features;
  for (const CpuFeature &known : CpuFeatures()) {
    std::string name(known.name);
    if (options.cpu.empty() ? !known.is_here : !cpu->checkFeatures("+" + name))
      continue;
    result.features.push_back(name);
    features += (features.empty() ? "+" : ",+") + name;
  }
  // The baseline of the architecture; the features are all that comes to it.
  StringRef baseline = triple.isX86() ? "x86-64" : "generic";
  result.machine.reset(target->createTargetMachine(triple, baseline, features, {}, llvm::Reloc::PIC_, {},
                                                   llvm::CodeGenOptLevel::Aggressive));
  return result;
}

static LogicalResult lowerToLlvmDialect(ModuleOp module) {
  PassManager passes(module.getContext());
  passes.addPass(createConvertTileToCpuPass());
  passes.addPass(createCSEPass());
  passes.addPass(createExpandCpuMathPass());
  passes.addPass(createSCFToControlFlowPass());
  passes.addPass(createConvertVectorToLLVMPass());
  passes.addPass(createConvertMathToLLVMPass());
  passes.addPass(createArithToLLVMConversionPass());
  passes.addPass(createConvertControlFlowToLLVMPass());
  passes.addPass(createConvertFuncToLLVMPass());
  passes.addPass(createReconcileUnrealizedCastsPass());
  return passes.run(module);
}

/// Loops are vectors already, and tiles have constant sizes. What is left is to share addresses and to move them and
/// loads out of loops: LLVM's -O2 takes five times as long and the kernels run no faster.
static void optimize(llvm::Module &module, llvm::TargetMachine &machine) {
  static constexpr const char *kPasses =
      "function(sroa,early-cse,instcombine<no-verify-fixpoint>,simplifycfg,loop-mssa(licm),gvn,"
      "instcombine<no-verify-fixpoint>,simplifycfg)";
  // The C interface, because PassBuilder.h takes 15 s to compile.
  LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
  if (LLVMErrorRef error =
          LLVMRunPasses(llvm::wrap(&module), kPasses, reinterpret_cast<LLVMTargetMachineRef>(&machine), options))
    llvm::reportFatalInternalError(llvm::unwrap(error));
  LLVMDisposePassBuilderOptions(options);
}

/// Translates, optimizes and emits an object file, which also says how many views each kernel takes.
static LogicalResult emitObject(ModuleOp module, const llvm::MapVector<StringRef, size_t> &views, CpuTarget &target,
                                SmallVectorImpl<char> &object) {
  llvm::TargetMachine &machine = *target.machine;
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> translated = translateModuleToLLVMIR(module, context, "kernels");
  if (!translated)
    return failure();
  translated->setTargetTriple(machine.getTargetTriple());
  translated->setDataLayout(machine.createDataLayout());
  translated->setPICLevel(llvm::PICLevel::BigPIC);
  for (llvm::Function &function : *translated)
    if (!function.isDeclaration()) {
      function.addFnAttr(llvm::Attribute::NoUnwind);
      function.addFnAttr("tune-cpu", target.tunedFor);
    }
  llvm::Type *i32 = llvm::Type::getInt32Ty(context);
  for (auto [kernel, count] : views)
    new llvm::GlobalVariable(*translated, i32, /*isConstant=*/true, llvm::GlobalValue::ExternalLinkage,
                             llvm::ConstantInt::get(i32, count), kernel + "_views");
  optimize(*translated, machine);
  llvm::raw_svector_ostream stream(object);
  llvm::legacy::PassManager emission;
  if (machine.addPassesToEmitFile(emission, stream, nullptr, llvm::CodeGenFileType::ObjectFile))
    return module.emitError() << "LLVM cannot write object files for " << machine.getTargetTriple().str();
  emission.run(*translated);
  return success();
}

/// Runs the first linker on PATH: LLVM's, the system's, or a compiler as its driver.
static LogicalResult linkShared(ModuleOp module, StringRef object, std::string &sharedLibrary) {
  static constexpr StringLiteral kLinkers[] = {"ld.lld-22", "ld.lld", "ld", "cc"};
  llvm::ErrorOr<std::string> linker = std::make_error_code(std::errc::no_such_file_or_directory);
  for (StringRef name : kLinkers) {
    linker = llvm::sys::findProgramByName(name);
    if (linker)
      break;
  }
  if (!linker)
    return module.emitError() << "no linker on PATH for the cpu kernels; looked for "
                              << "ld.lld-22, ld.lld, ld and cc"
                              << "; install lld or binutils";

  SmallString<128> input, output, log;
  int descriptor;
  if (std::error_code error = llvm::sys::fs::createTemporaryFile("kernels", "o", descriptor, input))
    return module.emitError() << "cannot write a temporary object file: " << error.message();
  llvm::FileRemover removeInput(input);
  {
    llvm::raw_fd_ostream stream(descriptor, /*shouldClose=*/true);
    stream << object;
    stream.close();
    // Unasked, the stream would end the program, and the files would stay.
    if (std::error_code error = stream.error()) {
      stream.clear_error();
      return module.emitError() << "cannot write " << input << ": " << error.message()
                                << "; free some space or set TMPDIR to another disk";
    }
  }
  if (std::error_code error = llvm::sys::fs::createTemporaryFile("kernels", "so", output))
    return module.emitError() << "cannot write a temporary shared library: " << error.message();
  llvm::FileRemover removeOutput(output);
  if (std::error_code error = llvm::sys::fs::createTemporaryFile("kernels", "log", log))
    return module.emitError() << "cannot write a temporary file: " << error.message();
  llvm::FileRemover removeLog(log);

  std::string message;
  StringRef arguments[] = {*linker, "-shared", "-o", output, input};
  std::optional<StringRef> redirects[] = {std::nullopt, StringRef(log), StringRef(log)};
  if (llvm::sys::ExecuteAndWait(*linker, arguments, std::nullopt, redirects, 0, 0, &message) != 0) {
    if (auto text = llvm::MemoryBuffer::getFile(log))
      message += (*text)->getBuffer();
    return module.emitError() << "linking the cpu kernels with " << *linker << " failed: " << message;
  }
  auto bytes = llvm::MemoryBuffer::getFile(output);
  if (!bytes)
    return module.emitError() << "cannot read " << output << ": " << bytes.getError().message();
  sharedLibrary = (*bytes)->getBuffer().str();
  return success();
}

LogicalResult inlay::compileCpuKernels(ModuleOp module, const CpuOptions &options, CpuLibrary &library) {
  FailureOr<CpuTarget> target = createTarget(module, options);
  if (failed(target))
    return failure();
  MLIRContext *context = module.getContext();
  DialectRegistry registry;
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  context->appendDialectRegistry(registry);

  OpBuilder builder(context);
  OwningOpRef<ModuleOp> kernels(ModuleOp::create(builder, module.getLoc()));
  builder.setInsertionPointToStart(kernels->getBody());
  llvm::MapVector<StringRef, size_t> views;
  for (auto program : module.getOps<tile::ProgramOp>()) {
    if (tile::CollectiveOp::of(program))
      continue; // the runtime runs it
    builder.clone(*program);
    views[program.getSymName()] = program.getArgumentTypes().size();
  }
  SmallVector<char> object;
  if (failed(lowerToLlvmDialect(*kernels)) || failed(emitObject(*kernels, views, *target, object)))
    return failure();
  library.features = std::move(target->features);
  return linkShared(module, StringRef(object.data(), object.size()), library.bytes);
}
