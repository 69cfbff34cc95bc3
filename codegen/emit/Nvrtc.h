//===- Nvrtc.h - CUDA C++ text to PTX and cubin ----------------------------===//
//
// NVRTC is loaded when it is first needed, from a path that the user gives or
// from the usual places, so that building the compiler and compiling for other
// targets need no CUDA. Several threads may use one `Nvrtc`.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_CODEGEN_EMIT_NVRTC_H
#define INLAY_CODEGEN_EMIT_NVRTC_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace inlay {
/// The result of compiling one translation unit.
struct CompiledCuda {
  std::string ptx;
  std::string cubin;
  std::string log; // warnings, and the register and memory use that ptxas reports
  int registers = 0;
  int64_t spillBytes = 0; // spill stores plus spill loads
  int64_t staticSharedBytes = 0;
  bool serializedWgmma = false; // ptxas reported that wgmma instructions are serialized (C75xx)
  double milliseconds = 0;
};

/// Reads registers, spills, shared memory and notes on wgmma from a log of `--ptxas-options=-v`.
void parsePtxasLog(llvm::StringRef log, CompiledCuda &result);

class Nvrtc {
public:
  /// Loads libnvrtc from `path`, which is the file or its directory. If `path` is empty, searches CUDA_HOME, CUDA_PATH,
  /// the Python wheels of the active environment, /usr/local/cuda, the wheels of the system's Python, and the system's
  /// library path, in this order.
  static llvm::Expected<std::unique_ptr<Nvrtc>> load(llvm::StringRef path);

  /// Compiles `source`, which may include the device headers, for a chip (`arch`, for example "sm_90a"). The error for
  /// a source that does not compile contains NVRTC's log.
  llvm::Expected<CompiledCuda> compile(llvm::StringRef name, const std::string &source, llvm::StringRef arch) const;

  /// The file that was loaded, and its version as major * 1000 + minor * 10.
  const std::string &path() const { return loadedPath; }
  int version() const { return loadedVersion; }

private:
  struct Functions;
  Nvrtc();

public:
  ~Nvrtc();

private:
  std::unique_ptr<Functions> functions;
  std::string loadedPath;
  int loadedVersion = 0;
};
} // namespace inlay

#endif // INLAY_CODEGEN_EMIT_NVRTC_H
