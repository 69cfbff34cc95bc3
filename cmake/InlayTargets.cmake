# How every target of the project is made: warnings are errors, includes are
# relative to the root, sanitizers are one option.

add_library(inlay_flags INTERFACE)
target_include_directories(inlay_flags INTERFACE
  $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}> $<BUILD_INTERFACE:${CMAKE_BINARY_DIR}>)
target_compile_options(inlay_flags INTERFACE $<BUILD_INTERFACE:-Wall;-Wextra;-Werror;-Wno-unused-parameter>)
if(INLAY_SANITIZE)
  target_compile_options(inlay_flags INTERFACE -fsanitize=${INLAY_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(inlay_flags INTERFACE -fsanitize=${INLAY_SANITIZE})
endif()

# inlay_library(NAME SOURCES file... [DEPS target...])
function(inlay_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC inlay_flags ${ARG_DEPS})
endfunction()

# inlay_tool(NAME SOURCES file... [DEPS target...])
function(inlay_tool name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE inlay_flags ${ARG_DEPS})
endfunction()

# inlay_test(NAME SOURCES file... [DEPS target...]): a GoogleTest program, one ctest entry a test program.
function(inlay_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE inlay_flags ${ARG_DEPS} GTest::gtest_main GTest::gmock)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
endfunction()
