//===- Nvrtc.h - CUDA C++ text to PTX and cubin ----------------------------===//
//
// NVRTC is loaded when it is first needed, from a path that the user gives or
// from where CUDA is usually found, so that neither building nor running the
// compiler for other targets needs CUDA. One `Nvrtc` may be used by many threads.
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
/// What NVRTC made of one translation unit.
struct CompiledCuda {
  std::string ptx;
  std::string cubin;
  std::string log; // warnings, and ptxas's numbers
  int registers = 0;
  int64_t spillBytes = 0; // stores and loads
  int64_t staticSharedBytes = 0;
  bool serializedWgmma = false; // one of the C75xx notes
  double milliseconds = 0;
};

/// Reads registers, spills, shared memory and notes out of a log of `--ptxas-options=-v`.
void parsePtxasLog(llvm::StringRef log, CompiledCuda &result);

class Nvrtc {
public:
  /// Loads libnvrtc: `path` (a file or the folder that holds it) if not empty, else from CUDA_HOME, the Python
  /// wheels of the active environment, /usr/local/cuda, and the system's own search, in this order.
  static llvm::Expected<std::unique_ptr<Nvrtc>> load(llvm::StringRef path);

  /// Compiles `source` for a chip ("sm_90a") with the device headers at hand. A source that does not compile is an
  /// error with NVRTC's log.
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
