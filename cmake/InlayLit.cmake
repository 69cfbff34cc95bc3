# Registers the FileCheck tests as one ctest entry. `ninja check` builds and runs all tests.

find_program(INLAY_LIT NAMES llvm-lit lit HINTS ${LLVM_TOOLS_BINARY_DIR} NO_DEFAULT_PATH)
find_program(INLAY_LIT NAMES llvm-lit-22 llvm-lit lit)
if(NOT INLAY_LIT)
  message(FATAL_ERROR "lit was not found in ${LLVM_TOOLS_BINARY_DIR}; install llvm-22-tools (scripts/setup does), "
                      "set its path with -DINLAY_LIT=, or configure with -DINLAY_BUILD_TESTS=OFF")
endif()
configure_file(${CMAKE_SOURCE_DIR}/test/lit.site.cfg.py.in ${CMAKE_BINARY_DIR}/test/lit.site.cfg.py @ONLY)
# It runs its tests on all cores, so ctest starts it first.
add_test(NAME lit COMMAND ${INLAY_LIT} -sv --show-unsupported ${CMAKE_BINARY_DIR}/test)
set_tests_properties(lit PROPERTIES COST 200)
