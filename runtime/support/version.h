// The version of Inlay, for --version, manifests and error messages.

#ifndef INLAY_RUNTIME_SUPPORT_VERSION_H_
#define INLAY_RUNTIME_SUPPORT_VERSION_H_

#include <string>
#include <string_view>

namespace inlay {

// "0.1.0", of the CMake project.
std::string_view Version();

// The abbreviated commit with "-dirty" where files differed from it, or "unknown" without git.
std::string_view Revision();

// One line for a tool's --version: "run-model 0.1.0 (1a2b3c4d5e6f)".
std::string VersionLine(std::string_view tool);

} // namespace inlay

#endif // INLAY_RUNTIME_SUPPORT_VERSION_H_
