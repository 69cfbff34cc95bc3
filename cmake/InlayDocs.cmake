# Generates the reference of dialects and passes from TableGen: `ninja docs` writes Markdown to build/docs.

add_custom_target(docs)

# inlay_doc(NAME FILE.td FLAGS...): generates docs/NAME.md from FILE.td.
function(inlay_doc name td)
  set(source ${CMAKE_SOURCE_DIR}/${td})
  set(result ${CMAKE_BINARY_DIR}/docs/${name}.md)
  add_custom_command(OUTPUT ${result}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/docs
    COMMAND ${MLIR_TABLEGEN_EXE} ${ARGN} -I ${CMAKE_SOURCE_DIR} -I ${CMAKE_BINARY_DIR} -I ${MLIR_INCLUDE_DIRS} ${source} -o ${result} -d ${result}.d
    DEPENDS ${source} DEPFILE ${result}.d VERBATIM)
  add_custom_target(docs-${name} DEPENDS ${result})
  add_dependencies(docs docs-${name})
endfunction()

inlay_doc(llm-dialect dialects/llm/LlmOps.td -gen-dialect-doc -dialect=llm)
inlay_doc(tile-dialect dialects/tile/TileOps.td -gen-dialect-doc -dialect=tile)
inlay_doc(cuda-dialect dialects/cuda/CudaOps.td -gen-dialect-doc -dialect=cuda)
file(GLOB pass_files RELATIVE ${CMAKE_SOURCE_DIR} CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/passes/*/*Passes.td)
foreach(td ${pass_files})
  cmake_path(GET td PARENT_PATH directory)
  cmake_path(GET directory FILENAME level)
  inlay_doc(${level}-passes ${td} -gen-pass-doc)
endforeach()
