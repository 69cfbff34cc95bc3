# cmake -DOUTPUT=file.cpp -DHEADERS=a.h;b.h -DSTEP_SIZES=n -P embed.cmake: writes the text of the headers as a table of C++
# strings.
set(text "#include \"codegen/emit/DeviceHeaders.h\"\n\nllvm::ArrayRef<inlay::DeviceHeader> inlay::deviceHeaders() {\n  static const DeviceHeader headers[] = {\n")
foreach(header IN LISTS HEADERS)
  get_filename_component(name ${header} NAME)
  file(READ ${header} content)
  string(REPLACE "INLAY_STEP_SIZE_COUNT" "${STEP_SIZES}" content "${content}")
  string(APPEND text "      {\"${name}\", R\"inlay(${content})inlay\"},\n")
endforeach()
string(APPEND text "  };\n  return headers;\n}\n")
file(WRITE ${OUTPUT} "${text}")
