# Functions for targets that link MLIR. They share one precompiled header, because parsing MLIR's headers takes most of
# the build time.

find_package(MLIR 22.1 REQUIRED CONFIG HINTS /usr/lib/llvm-22)
list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
include(TableGen)
include(AddLLVM)
include(AddMLIR)

add_library(inlay_mlir_flags INTERFACE)
target_include_directories(inlay_mlir_flags SYSTEM INTERFACE ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
target_link_libraries(inlay_mlir_flags INTERFACE inlay_flags)
# The compiler's time is spent in MLIR, LLVM and NVRTC, which -O1 of our own code does not change.
target_compile_options(inlay_mlir_flags INTERFACE $<BUILD_INTERFACE:$<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CONFIG:Release>>:-O1>>)
if(NOT LLVM_ENABLE_RTTI)
  target_compile_options(inlay_mlir_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fno-rtti>)
endif()

# The shared precompiled header.
add_library(inlay_mlir_pch OBJECT ${CMAKE_SOURCE_DIR}/cmake/mlir_pch.cpp)
target_link_libraries(inlay_mlir_pch PUBLIC inlay_mlir_flags)
target_precompile_headers(inlay_mlir_pch PRIVATE ${CMAKE_SOURCE_DIR}/cmake/mlir_pch.h)

if(INLAY_PORTABLE)
  include(InlayPortable)
else()
  set(INLAY_MLIR_LIBS MLIR LLVM)
endif()

# inlay_mlir_library(NAME SOURCES file... [DEPS target...])
function(inlay_mlir_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  inlay_dependencies(deps ${ARG_DEPS})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC inlay_mlir_flags ${deps})
  target_precompile_headers(${name} REUSE_FROM inlay_mlir_pch)
  add_dependencies(${name} inlay_tablegen)
endfunction()

# inlay_mlir_tool(NAME SOURCES file... [DEPS target...])
function(inlay_mlir_tool name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  inlay_dependencies(deps ${ARG_DEPS})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE inlay_mlir_flags ${deps} ${INLAY_MLIR_LIBS})
  install(TARGETS ${name} RUNTIME)
  target_precompile_headers(${name} REUSE_FROM inlay_mlir_pch)
  add_dependencies(${name} inlay_tablegen)
endfunction()

# inlay_mlir_test(NAME SOURCES file... [DEPS target...]): a GoogleTest program that links MLIR. Most compile models, so
# ctest starts them before shorter tests.
function(inlay_mlir_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE inlay_mlir_flags ${ARG_DEPS} GTest::gtest_main GTest::gmock ${INLAY_MLIR_LIBS})
  target_precompile_headers(${name} REUSE_FROM inlay_mlir_pch)
  add_dependencies(${name} inlay_tablegen)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES COST 30)
endfunction()

# inlay_tablegen(FILE.td OUTPUT FLAGS...): writes OUTPUT to the directory in the build tree that corresponds to that of
# FILE.td.
add_custom_target(inlay_tablegen)
function(inlay_tablegen td output)
  set(source ${CMAKE_CURRENT_SOURCE_DIR}/${td})
  set(result ${CMAKE_CURRENT_BINARY_DIR}/${output})
  add_custom_command(OUTPUT ${result}
    COMMAND ${MLIR_TABLEGEN_EXE} ${ARGN} -I ${CMAKE_SOURCE_DIR} -I ${CMAKE_BINARY_DIR} -I ${MLIR_INCLUDE_DIRS} ${source} -o ${result}
            --write-if-changed -d ${result}.d
    DEPENDS ${source} DEPFILE ${result}.d VERBATIM)
  string(REPLACE "/" "_" id "tablegen_${CMAKE_CURRENT_BINARY_DIR}_${output}")
  string(REGEX REPLACE "[^A-Za-z0-9_]" "_" id ${id})
  add_custom_target(${id} DEPENDS ${result})
  add_dependencies(inlay_tablegen ${id})
endfunction()
