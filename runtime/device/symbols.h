// Looks up functions of a library that was loaded at run time.
#ifndef INLAY_RUNTIME_DEVICE_SYMBOLS_H_
#define INLAY_RUNTIME_DEVICE_SYMBOLS_H_

#include <dlfcn.h>
#include <string>

namespace inlay {

// Sets function pointers by name. `missing` is the first name that was not found in the library.
struct Symbols {
  void *library;
  std::string missing;

  template <typename Function> void operator()(Function &function, const char *name) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (!function && missing.empty())
      missing = name;
  }
};

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_SYMBOLS_H_
