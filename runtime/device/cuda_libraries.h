// Where NVIDIA's libraries are on a machine: each is loaded at run time, and only by what needs it.
#ifndef INLAY_RUNTIME_DEVICE_CUDA_LIBRARIES_H_
#define INLAY_RUNTIME_DEVICE_CUDA_LIBRARIES_H_

#include <string>
#include <vector>

namespace inlay {

struct CudaLibrary {
  std::string file; // "libcupti.so": versions are appended to it
  // Folders that hold it beside those that hold all of CUDA's libraries: of a toolkit, and of Python's packages.
  std::vector<std::string> toolkit_folders, wheel_folders;
};

// The files to try, the most wanted first. `path` is a file, or a folder (a toolkit, a Python environment or what holds
// the library itself); empty: CUDA_HOME, CUDA_PATH, the Python environment that is active, the system's folders.
std::vector<std::string> CudaLibraryCandidates(const CudaLibrary &library, const std::string &path);

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUDA_LIBRARIES_H_
