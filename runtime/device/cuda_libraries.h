// Finds and loads NVIDIA's libraries at run time.
#ifndef INLAY_RUNTIME_DEVICE_CUDA_LIBRARIES_H_
#define INLAY_RUNTIME_DEVICE_CUDA_LIBRARIES_H_

#include "absl/status/statusor.h"

#include <functional>
#include <string>
#include <vector>

namespace inlay {

struct CudaLibrary {
  std::string file; // "libcupti.so"; file names on disk may have a version after it
  // Directories to search in addition to those of all CUDA libraries: in a toolkit, and in Python's site-packages.
  std::vector<std::string> toolkit_folders, wheel_folders;
  // Versions after the name that are tried in the system's library path.
  std::vector<std::string> versions = {".13", ".12", ""};
};

// The files to try, in order of preference. `path` is a file or a directory (a toolkit, a Python environment or the
// directory of the library). Empty: CUDA_HOME, CUDA_PATH, the active Python environment, the system's directories.
std::vector<std::string> CudaLibraryCandidates(const CudaLibrary &library, const std::string &path);

// Loads the first candidate that `bind` accepts and returns its file. `bind` looks up the functions; it returns an
// empty string, or the reason why it does not accept the file. Unavailable, with the reason, if there is none.
absl::StatusOr<std::string>
LoadCudaLibrary(const CudaLibrary &library, const std::string &path,
                const std::function<std::string(void *handle, const std::string &file)> &bind);

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUDA_LIBRARIES_H_
