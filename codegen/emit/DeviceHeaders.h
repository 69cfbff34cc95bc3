//===- DeviceHeaders.h - the text of codegen/device/*.h --------------------===//

#ifndef INLAY_CODEGEN_EMIT_DEVICEHEADERS_H
#define INLAY_CODEGEN_EMIT_DEVICEHEADERS_H

#include "llvm/ADT/ArrayRef.h"

namespace inlay {
/// A header that generated kernels include by name.
struct DeviceHeader {
  const char *name;
  const char *text;
};

/// All device headers, embedded when the compiler was built.
llvm::ArrayRef<DeviceHeader> deviceHeaders();
} // namespace inlay

#endif // INLAY_CODEGEN_EMIT_DEVICEHEADERS_H
