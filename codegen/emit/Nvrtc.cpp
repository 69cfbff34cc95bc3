//===- Nvrtc.cpp - CUDA C++ text to PTX and cubin --------------------------===//

#include "codegen/emit/Nvrtc.h"

#include "codegen/emit/DeviceHeaders.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Regex.h"

#include <chrono>
#include <dlfcn.h>

using namespace inlay;

// The part of nvrtc.h that is used; declared here so that building needs no CUDA.
using NvrtcProgram = struct OpaqueNvrtcProgram *;
using NvrtcResult = int; // 0 is success
namespace {
constexpr int kCompilationFailed = 6;
} // namespace

struct Nvrtc::Functions {
  NvrtcResult (*version)(int *, int *);
  const char *(*errorString)(NvrtcResult);
  NvrtcResult (*create)(NvrtcProgram *, const char *, const char *, int, const char *const *, const char *const *);
  NvrtcResult (*destroy)(NvrtcProgram *);
  NvrtcResult (*compile)(NvrtcProgram, int, const char *const *);
  NvrtcResult (*ptxSize)(NvrtcProgram, size_t *);
  NvrtcResult (*ptx)(NvrtcProgram, char *);
  NvrtcResult (*cubinSize)(NvrtcProgram, size_t *);
  NvrtcResult (*cubin)(NvrtcProgram, char *);
  NvrtcResult (*logSize)(NvrtcProgram, size_t *);
  NvrtcResult (*log)(NvrtcProgram, char *);
};

Nvrtc::Nvrtc() : functions(std::make_unique<Functions>()) {}
// The library is never unloaded, because its threads and caches may outlive this object.
Nvrtc::~Nvrtc() = default;

/// Appends the files named libnvrtc.so* in a folder, in descending order of name, so that newer versions come first.
static void addLibrariesIn(const llvm::Twine &folder, std::vector<std::string> &found) {
  std::error_code error;
  std::vector<std::string> here;
  for (llvm::sys::fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    llvm::StringRef name = llvm::sys::path::filename(it->path());
    if (name.starts_with("libnvrtc.so"))
      here.push_back(it->path());
  }
  llvm::sort(here, std::greater<>());
  found.insert(found.end(), here.begin(), here.end());
}

/// Appends the libraries in NVIDIA's wheels of a Python environment: lib/python3.X/site-packages/nvidia/...
static void addWheelsOf(llvm::StringRef prefix, std::vector<std::string> &found) {
  std::error_code error;
  for (llvm::sys::fs::directory_iterator it(prefix + "/lib", error), end; !error && it != end; it.increment(error)) {
    if (!llvm::sys::path::filename(it->path()).starts_with("python3"))
      continue;
    for (const char *packages : {"/site-packages", "/dist-packages"})
      for (const char *wheel : {"/nvidia/cu13/lib", "/nvidia/cuda_nvrtc/lib"})
        addLibrariesIn(it->path() + packages + wheel, found);
  }
}

static std::vector<std::string> candidates(llvm::StringRef path) {
  std::vector<std::string> found;
  if (!path.empty()) {
    if (!llvm::sys::fs::is_directory(path))
      return {path.str()};
    for (const char *folder : {"", "/lib64", "/lib", "/nvidia/cu13/lib", "/nvidia/cuda_nvrtc/lib"})
      addLibrariesIn(path + folder, found);
    addWheelsOf(path, found);
    return found;
  }
  for (const char *variable : {"CUDA_HOME", "CUDA_PATH"})
    if (auto home = llvm::sys::Process::GetEnv(variable))
      for (const char *folder : {"/lib64", "/lib"})
        addLibrariesIn(*home + folder, found);
  for (const char *variable : {"VIRTUAL_ENV", "CONDA_PREFIX"})
    if (auto prefix = llvm::sys::Process::GetEnv(variable))
      addWheelsOf(*prefix, found);
  addLibrariesIn("/usr/local/cuda/lib64", found);
  for (const char *prefix : {"/usr/local", "/usr"})
    addWheelsOf(prefix, found);
  found.push_back("libnvrtc.so.13");
  found.push_back("libnvrtc.so.12");
  found.push_back("libnvrtc.so");
  return found;
}

template <typename Function> static bool resolve(void *library, const char *name, Function &function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

llvm::Expected<std::unique_ptr<Nvrtc>> Nvrtc::load(llvm::StringRef path) {
  std::string reasons;
  for (const std::string &file : candidates(path)) {
    void *library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
      reasons += "\n  " + std::string(dlerror());
      continue;
    }
    std::unique_ptr<Nvrtc> result(new Nvrtc);
    Functions &f = *result->functions;
    int major = 0, minor = 0;
    if (!resolve(library, "nvrtcVersion", f.version) || !resolve(library, "nvrtcGetErrorString", f.errorString) ||
        !resolve(library, "nvrtcCreateProgram", f.create) || !resolve(library, "nvrtcDestroyProgram", f.destroy) ||
        !resolve(library, "nvrtcCompileProgram", f.compile) || !resolve(library, "nvrtcGetPTXSize", f.ptxSize) ||
        !resolve(library, "nvrtcGetPTX", f.ptx) || !resolve(library, "nvrtcGetCUBINSize", f.cubinSize) ||
        !resolve(library, "nvrtcGetCUBIN", f.cubin) || !resolve(library, "nvrtcGetProgramLogSize", f.logSize) ||
        !resolve(library, "nvrtcGetProgramLog", f.log) || f.version(&major, &minor) != 0) {
      reasons += "\n  " + file + ": lacks functions of NVRTC 12";
      continue;
    }
    result->loadedPath = file;
    result->loadedVersion = major * 1000 + minor * 10;
    return result;
  }
  return llvm::createStringError("libnvrtc was not found%s%s; install CUDA 13 or the wheel nvidia-cuda-nvrtc, and set "
                                 "CUDA_HOME or --nvrtc to the folder that holds it%s",
                                 path.empty() ? "" : " at ", path.str().c_str(), reasons.c_str());
}

void inlay::parsePtxasLog(llvm::StringRef log, CompiledCuda &result) {
  llvm::Regex registers("Used ([0-9]+) registers"), spills("([0-9]+) bytes spill stores, ([0-9]+) bytes spill loads"),
      shared("([0-9]+) bytes smem"), wgmma("C75[0-9][0-9]");
  llvm::SmallVector<llvm::StringRef> lines, match;
  log.split(lines, '\n');
  for (llvm::StringRef line : lines) {
    int64_t number = 0, more = 0;
    if (registers.match(line, &match) && !match[1].getAsInteger(10, number))
      result.registers = std::max<int>(result.registers, number);
    if (shared.match(line, &match) && !match[1].getAsInteger(10, number))
      result.staticSharedBytes = std::max(result.staticSharedBytes, number);
    if (spills.match(line, &match) && !match[1].getAsInteger(10, number) && !match[2].getAsInteger(10, more))
      result.spillBytes += number + more;
    if (wgmma.match(line) || line.contains("wgmma.mma_async instructions are serialized"))
      result.serializedWgmma = true;
  }
}

llvm::Expected<CompiledCuda> Nvrtc::compile(llvm::StringRef name, const std::string &source,
                                            llvm::StringRef arch) const {
  auto start = std::chrono::steady_clock::now();
  std::vector<const char *> texts, names;
  for (const DeviceHeader &header : deviceHeaders()) {
    texts.push_back(header.text);
    names.push_back(header.name);
  }
  NvrtcProgram program = nullptr;
  std::string file = (name + ".cu").str();
  NvrtcResult status =
      functions->create(&program, source.c_str(), file.c_str(), texts.size(), texts.data(), names.data());
  if (status != 0)
    return llvm::createStringError("NVRTC: %s: %s", file.c_str(), functions->errorString(status));
  llvm::scope_exit cleanup([&] { functions->destroy(&program); });
  std::string architecture = ("--gpu-architecture=" + arch).str();
  const char *const options[] = {architecture.c_str(), "--std=c++17", "-default-device", "-lineinfo",
                                 "--ptxas-options=-v"};
  status = functions->compile(program, std::size(options), options);

  CompiledCuda result;
  auto fetch = [&](auto size, auto get, std::string &text, bool isText) -> llvm::Error {
    size_t bytes = 0;
    NvrtcResult error = size(program, &bytes);
    text.resize(bytes);
    if (error == 0 && bytes)
      error = get(program, text.data());
    if (error != 0)
      return llvm::createStringError("NVRTC: %s: %s", file.c_str(), functions->errorString(error));
    while (isText && !text.empty() && text.back() == '\0')
      text.pop_back();
    return llvm::Error::success();
  };
  if (llvm::Error error = fetch(functions->logSize, functions->log, result.log, true))
    return error;
  if (status != 0)
    return llvm::createStringError(
        "NVRTC: %s does not compile for %s: %s%s", file.c_str(), arch.str().c_str(), functions->errorString(status),
        status == kCompilationFailed || !result.log.empty() ? ("\n" + result.log).c_str() : "");
  if (llvm::Error error = fetch(functions->ptxSize, functions->ptx, result.ptx, true))
    return error;
  if (llvm::Error error = fetch(functions->cubinSize, functions->cubin, result.cubin, false))
    return error;
  parsePtxasLog(result.log, result);
  result.milliseconds = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return result;
}
