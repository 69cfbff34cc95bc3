# The portable build: binaries that hold LLVM, MLIR and the C++ library, so that they run on any glibc of Debian 12's age or
# later. The archives are named one by one: through the imported targets libLLVM.so comes along, and the program aborts
# on options that are registered twice. In a group, because MLIR's archives refer to each other in circles; the linker
# takes only what is used.

file(GLOB INLAY_MLIR_ARCHIVES ${LLVM_LIBRARY_DIR}/libMLIR*.a)
file(GLOB INLAY_LLVM_ARCHIVES ${LLVM_LIBRARY_DIR}/libLLVM*.a)
if(NOT INLAY_MLIR_ARCHIVES)
  message(FATAL_ERROR "no libMLIR*.a in ${LLVM_LIBRARY_DIR}; the portable build needs the archives (libmlir-22-dev)")
endif()

find_library(INLAY_ZLIB_ARCHIVE libz.a REQUIRED)
find_library(INLAY_ZSTD_ARCHIVE libzstd.a REQUIRED)
set(INLAY_MLIR_LIBS
  -Wl,--start-group ${INLAY_MLIR_ARCHIVES} ${INLAY_LLVM_ARCHIVES} -Wl,--end-group
  ${INLAY_ZLIB_ARCHIVE} ${INLAY_ZSTD_ARCHIVE} ${CMAKE_DL_LIBS} m)
