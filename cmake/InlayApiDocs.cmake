# Generates the references of the C++ and C interfaces and of the Python package from their comments: `ninja docs-api`
# (part of `docs`).

find_package(Python3 REQUIRED COMPONENTS Interpreter)
set(api_docs ${CMAKE_BINARY_DIR}/docs/cpp-api.md ${CMAKE_BINARY_DIR}/docs/c-api.md ${CMAKE_BINARY_DIR}/docs/python-api.md)
file(GLOB api_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/python/inlay/*.py)
add_custom_command(OUTPUT ${api_docs}
  COMMAND Python3::Interpreter ${CMAKE_SOURCE_DIR}/cmake/make_api_docs.py ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/docs
  DEPENDS ${CMAKE_SOURCE_DIR}/cmake/make_api_docs.py ${CMAKE_SOURCE_DIR}/runtime/api/inlay.h ${CMAKE_SOURCE_DIR}/runtime/c/inlay.h ${api_sources} VERBATIM)
add_custom_target(docs-api DEPENDS ${api_docs})
if(NOT TARGET docs)
  add_custom_target(docs)
endif()
add_dependencies(docs docs-api)
