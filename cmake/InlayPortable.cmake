# The portable build links LLVM, MLIR and the C++ library statically, so that the binaries run with the glibc of Debian
# 12 and later. The archives are listed one by one: the imported targets would also link libLLVM.so, and the program
# would abort because options are registered twice. They are in a linker group because MLIR's archives have cyclic
# references. The linker takes only the members that are used.

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
