//===- KernelTesting.h - compiles and runs kernels of the cpu target -------===//

#ifndef INLAY_TEST_CODEGEN_CPU_KERNELTESTING_H
#define INLAY_TEST_CODEGEN_CPU_KERNELTESTING_H

#include "codegen/tile_to_cpu/Compile.h"
#include "compiler/pipelines/Registration.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"
#include "gtest/gtest.h"
#include <dlfcn.h>
#include <random>

namespace inlay::testing {
using Kernel = void (*)(void *const *args, const int32_t *sizes, int64_t x, int64_t y, int64_t z);

inline float toFloat(uint16_t bf16) { return llvm::bit_cast<float>(static_cast<uint32_t>(bf16) << 16); }

/// Round to nearest, ties to even.
inline uint16_t toBf16(float value) {
  uint32_t bits = llvm::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline double rounded(double value) { return toFloat(toBf16(static_cast<float>(value))); }

/// The compiled kernels of a text or module.
class Library {
public:
  explicit Library(const std::string &text) {
    mlir::DialectRegistry registry;
    registerAllDialects(registry);
    mlir::MLIRContext context(registry);
    if (auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context))
      compile(*module);
  }
  explicit Library(mlir::ModuleOp module) { compile(module); }
  Library(const Library &) = delete;
  ~Library() {
    if (handle)
      dlclose(handle);
  }

  static std::string program(const std::string &name) {
    auto buffer = llvm::MemoryBuffer::getFile("test/codegen/programs/" + name + ".mlir");
    return buffer ? (*buffer)->getBuffer().str() : "";
  }

  Kernel kernel(const char *name) const { return handle ? reinterpret_cast<Kernel>(dlsym(handle, name)) : nullptr; }

private:
  void compile(mlir::ModuleOp module) {
    CpuLibrary library;
    if (failed(compileCpuKernels(module, {}, library)))
      return;
    llvm::SmallString<64> path;
    int descriptor;
    if (llvm::sys::fs::createTemporaryFile("kernels-test", "so", descriptor, path))
      return;
    llvm::raw_fd_ostream(descriptor, /*shouldClose=*/true) << library.bytes;
    handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle)
      ADD_FAILURE() << dlerror();
    llvm::sys::fs::remove(path);
  }

  void *handle = nullptr;
};

class Random {
public:
  explicit Random(unsigned seed) : engine(seed) {}
  std::vector<uint16_t> bf16(size_t count, float scale = 1) {
    std::vector<uint16_t> values(count);
    for (uint16_t &value : values)
      value = toBf16(scale * normal(engine));
    return values;
  }
  std::vector<float> f32(size_t count, float scale = 1) {
    std::vector<float> values(count);
    for (float &value : values)
      value = scale * normal(engine);
    return values;
  }

private:
  std::mt19937 engine;
  std::normal_distribution<float> normal;
};

/// The sizes of a step, in the order of the plan's Extent.
struct Sizes {
  int32_t tokens = 0, sequences = 0, queryTiles = 0, logitRows = 0, penaltyEntries = 0, kvRows = 0;
};

template <typename... Views> void launch(Kernel kernel, int64_t x, int64_t y, const Sizes &sizes, Views &...views) {
  void *args[] = {views.data()...};
  for (int64_t j = 0; j < y; ++j)
    for (int64_t i = 0; i < x; ++i)
      kernel(args, &sizes.tokens, i, j, 0);
}

} // namespace inlay::testing

#endif // INLAY_TEST_CODEGEN_CPU_KERNELTESTING_H
