// Describes rows of a block of memory that are copied to the same offsets of another block.
#ifndef INLAY_RUNTIME_SUPPORT_COPY_ROWS_H_
#define INLAY_RUNTIME_SUPPORT_COPY_ROWS_H_

#include <cstdint>

namespace inlay {

struct CopyRows {
  uint64_t offset = 0; // of the first row, in bytes from the beginning of the block
  uint64_t bytes = 0;  // bytes per row
  uint64_t rows = 1;
  uint64_t pitch = 0; // bytes from the start of a row to the start of the next
};

} // namespace inlay

#endif // INLAY_RUNTIME_SUPPORT_COPY_ROWS_H_
