#include "runtime/device/cuda_libraries.h"

#include <algorithm>
#include <cstdlib>
#include <dlfcn.h>
#include <filesystem>

namespace inlay {
namespace {

namespace fs = std::filesystem;

class Search {
public:
  explicit Search(const CudaLibrary &library) : library_(library) {}

  void AddFolder(const fs::path &folder) {
    std::vector<std::string> here;
    std::error_code error;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
      if (it->path().filename().string().starts_with(library_.file))
        here.push_back(it->path().string());
    std::sort(here.begin(), here.end(), std::greater<>());
    found_.insert(found_.end(), here.begin(), here.end());
  }

  void AddToolkit(const fs::path &home) {
    AddFolder(home / "lib64");
    AddFolder(home / "lib");
    for (const std::string &folder : library_.toolkit_folders)
      AddFolder(home / folder);
  }

  // The directories of NVIDIA's wheels in a Python environment: lib/python3.X/site-packages/nvidia/...
  void AddWheels(const fs::path &prefix) {
    std::error_code error;
    for (fs::directory_iterator it(prefix / "lib", error), end; !error && it != end; it.increment(error)) {
      if (!it->path().filename().string().starts_with("python3"))
        continue;
      for (const char *packages : {"site-packages", "dist-packages"}) {
        AddFolder(it->path() / packages / "nvidia/cu13/lib");
        for (const std::string &folder : library_.wheel_folders)
          AddFolder(it->path() / packages / folder);
      }
    }
  }

  // Names without a directory, which dlopen searches in the system's library path.
  void AddNames() {
    for (const std::string &version : library_.versions)
      found_.push_back(library_.file + version);
  }

  std::vector<std::string> Take() { return std::move(found_); }

private:
  const CudaLibrary &library_;
  std::vector<std::string> found_;
};

} // namespace

std::vector<std::string> CudaLibraryCandidates(const CudaLibrary &library, const std::string &path) {
  Search search(library);
  std::error_code error;
  if (!path.empty()) {
    if (!fs::is_directory(path, error))
      return {path};
    search.AddFolder(path);
    search.AddToolkit(path);
    search.AddWheels(path);
    return search.Take();
  }
  for (const char *variable : {"CUDA_HOME", "CUDA_PATH"})
    if (const char *home = std::getenv(variable))
      search.AddToolkit(home);
  for (const char *variable : {"VIRTUAL_ENV", "CONDA_PREFIX"})
    if (const char *prefix = std::getenv(variable))
      search.AddWheels(prefix);
  search.AddToolkit("/usr/local/cuda");
  for (const char *prefix : {"/usr/local", "/usr"})
    search.AddWheels(prefix);
  search.AddNames();
  return search.Take();
}

absl::StatusOr<std::string>
LoadCudaLibrary(const CudaLibrary &library, const std::string &path,
                const std::function<std::string(void *handle, const std::string &file)> &bind) {
  std::string reason;
  for (const std::string &file : CudaLibraryCandidates(library, path)) {
    void *handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
      const char *why = dlerror();
      if (reason.empty() && why)
        reason = why;
      continue;
    }
    std::string refused = bind(handle, file);
    if (refused.empty())
      return file;
    reason = std::move(refused);
  }
  return absl::UnavailableError(reason.empty() ? "no such file" : reason);
}

} // namespace inlay
