# Functions for the targets of the project and their common flags: warnings are errors, includes are relative to the
# root, and one option turns on sanitizers.

add_library(inlay_flags INTERFACE)
target_include_directories(inlay_flags INTERFACE
  $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}> $<BUILD_INTERFACE:${CMAKE_BINARY_DIR}>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(inlay_flags INTERFACE $<BUILD_INTERFACE:$<$<COMPILE_LANGUAGE:CXX>:SHELL:-Xclang -fno-pch-timestamp>>)
endif()
target_compile_options(inlay_flags INTERFACE $<BUILD_INTERFACE:-Wall;-Wextra;-Werror;-Wno-unused-parameter>)
target_compile_features(inlay_flags INTERFACE cxx_std_20)
if(INLAY_SANITIZE)
  target_compile_options(inlay_flags INTERFACE -fsanitize=${INLAY_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(inlay_flags INTERFACE -fsanitize=${INLAY_SANITIZE})
  if(INLAY_SANITIZE MATCHES "fuzzer-no-link")
    # Coverage guides fuzzers only. Options of inlay_flags follow those of a target, so a target cannot turn it off itself.
    target_compile_options(inlay_flags INTERFACE $<$<BOOL:$<TARGET_PROPERTY:INLAY_WITHOUT_COVERAGE>>:-fno-sanitize=fuzzer-no-link>)
  endif()
endif()

# inlay_test_options(TARGET): options of a GoogleTest program or of the precompiled header of these. Test code is compiled
# without optimization, because it runs briefly and takes long to compile, and without coverage.
function(inlay_test_options target)
  target_compile_options(${target} PRIVATE -O0)
  set_target_properties(${target} PROPERTIES INLAY_WITHOUT_COVERAGE ON)
endfunction()

# inlay_separate_sources(file...): sources that are compiled alone in unity builds, because others of their target define
# the same names in anonymous namespaces. Unity builds instantiate templates once per unit instead of once per file.
function(inlay_separate_sources)
  set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# Replaces dependencies in a portable build with header-only libraries or archives, where Debian has only shared
# libraries.
function(inlay_dependencies result)
  if(INLAY_PORTABLE)
    list(TRANSFORM ARGN REPLACE "^fmt::fmt$" "fmt::fmt-header-only")
    list(TRANSFORM ARGN REPLACE "^spdlog::spdlog$" "spdlog::spdlog_header_only")
    list(TRANSFORM ARGN REPLACE "^PkgConfig::SIMDJSON$" "inlay_simdjson")
    list(TRANSFORM ARGN REPLACE "^PkgConfig::oniguruma$" "onig")
  endif()
  set(${result} ${ARGN} PARENT_SCOPE)
endfunction()

# Defines the precompiled headers of the targets below. Must be called after the packages are found. -fno-pch-timestamp
# lets ccache reuse them.
function(inlay_precompile_headers)
  inlay_dependencies(deps absl::status absl::statusor fmt::fmt nlohmann_json::nlohmann_json)
  add_library(inlay_pch OBJECT ${CMAKE_SOURCE_DIR}/cmake/pch.cpp)
  target_link_libraries(inlay_pch PRIVATE inlay_flags ${deps})
  target_precompile_headers(inlay_pch PRIVATE ${CMAKE_SOURCE_DIR}/cmake/pch.h)
  if(INLAY_SANITIZE)
    add_library(inlay_cold_pch OBJECT ${CMAKE_SOURCE_DIR}/cmake/pch.cpp)
    target_link_libraries(inlay_cold_pch PRIVATE inlay_flags ${deps})
    target_compile_options(inlay_cold_pch PRIVATE -O0)
    target_precompile_headers(inlay_cold_pch PRIVATE ${CMAKE_SOURCE_DIR}/cmake/pch.h)
  endif()
  if(INLAY_BUILD_TESTS)
    add_library(inlay_test_pch OBJECT ${CMAKE_SOURCE_DIR}/cmake/test_pch.cpp)
    target_link_libraries(inlay_test_pch PRIVATE inlay_flags ${deps} GTest::gtest_main GTest::gmock)
    inlay_test_options(inlay_test_pch)
    target_precompile_headers(inlay_test_pch PRIVATE ${CMAKE_SOURCE_DIR}/cmake/test_pch.h)
  endif()
endfunction()

# inlay_internal_library(NAME [COLD] SOURCES file... [DEPS target...]): a library without MLIR that only tools use. With
# COLD, sanitizer presets compile it without optimization, which takes half the time, because tests spend little time in it.
function(inlay_internal_library name)
  cmake_parse_arguments(ARG "COLD" "" "SOURCES;DEPS" ${ARGN})
  inlay_dependencies(deps ${ARG_DEPS})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC inlay_flags ${deps})
  if(ARG_COLD AND INLAY_SANITIZE)
    target_compile_options(${name} PRIVATE -O0)
    target_precompile_headers(${name} REUSE_FROM inlay_cold_pch)
  else()
    target_precompile_headers(${name} REUSE_FROM inlay_pch)
  endif()
endfunction()

# inlay_library(NAME [COLD] SOURCES file... [DEPS target...]): a library without MLIR. The libraries in runtime/ and formats/
# are installed for applications (InlayInstall.cmake).
function(inlay_library name)
  inlay_internal_library(${name} ${ARGN})
  cmake_path(RELATIVE_PATH CMAKE_CURRENT_SOURCE_DIR BASE_DIRECTORY ${CMAKE_SOURCE_DIR} OUTPUT_VARIABLE directory)
  if(directory MATCHES "^(runtime|formats)")
    set_property(GLOBAL APPEND PROPERTY INLAY_RUNTIME_LIBRARIES ${name})
  endif()
endfunction()

# inlay_program(NAME SOURCES file... [DEPS target...]): an executable for developers of Inlay, such as the benchmarks in
# test/bench. It is not installed.
function(inlay_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  inlay_dependencies(deps ${ARG_DEPS})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE inlay_flags ${deps})
  target_precompile_headers(${name} REUSE_FROM inlay_pch)
endfunction()

# inlay_tool(NAME SOURCES file... [DEPS target...]): an executable that is installed. It is compiled without
# optimization, because it only parses flags and waits for the engine, and CLI11 takes long to optimize.
function(inlay_tool name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  inlay_dependencies(deps ${ARG_DEPS})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE inlay_flags ${deps})
  target_compile_options(${name} PRIVATE -O0)
  target_precompile_headers(${name} REUSE_FROM inlay_tool_pch)
  install(TARGETS ${name} RUNTIME)
endfunction()

# inlay_test(NAME SOURCES file... [DEPS target...] [SHARDS count]): a GoogleTest program with one ctest entry, or one
# per shard of a long test (NAME.0, NAME.1, ...).
function(inlay_test name)
  cmake_parse_arguments(ARG "" "SHARDS" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE inlay_flags ${ARG_DEPS} GTest::gtest_main GTest::gmock)
  inlay_test_options(${name})
  target_precompile_headers(${name} REUSE_FROM inlay_test_pch)
  if(NOT ARG_SHARDS)
    add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    return()
  endif()
  math(EXPR last "${ARG_SHARDS} - 1")
  foreach(shard RANGE ${last})
    add_test(NAME ${name}.${shard} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    # ctest starts the tests with the highest cost first, so that no core is idle at the end.
    set_tests_properties(${name}.${shard} PROPERTIES COST 100
      ENVIRONMENT "GTEST_TOTAL_SHARDS=${ARG_SHARDS};GTEST_SHARD_INDEX=${shard}")
  endforeach()
endfunction()
