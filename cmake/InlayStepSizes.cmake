# The sizes of a step from their one list, enum Extent of plan.fbs: TableGen for the tile dialect, C++ for the compiler
# and the runtime, and their number (INLAY_STEP_SIZE_COUNT) for the device headers.
set(plan ${CMAKE_SOURCE_DIR}/runtime/bundle/plan.fbs)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${plan})
file(READ ${plan} text)
if(NOT text MATCHES "enum Extent[^{]*{([^}]*)}")
  message(FATAL_ERROR "${plan}: has no enum Extent, the list of a step's sizes")
endif()
string(REGEX REPLACE "//[^\n]*" "" body "${CMAKE_MATCH_1}")
string(REGEX MATCHALL "[A-Z][A-Za-z]*" names "${body}")
list(REMOVE_ITEM names One)
list(LENGTH names INLAY_STEP_SIZE_COUNT)
set(cases "")
set(strings "")
set(number 0)
foreach(name IN LISTS names)
  string(REGEX REPLACE "([a-z])([A-Z])" "\\1_\\2" snake ${name})
  string(TOLOWER ${snake} snake)
  list(APPEND cases "    I32EnumAttrCase<\"${name}\", ${number}, \"${snake}\">")
  list(APPEND strings "\"${snake}\"")
  math(EXPR number "${number} + 1")
endforeach()
list(JOIN cases ",\n" cases)
list(JOIN strings ", " strings)
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/dialects/tile/StepSizes.td @ONLY CONTENT
"// Made from enum Extent of runtime/bundle/plan.fbs.
def Tile_Extent : I32EnumAttr<\"Extent\", \"a size of the step\", [
@cases@]> {
  let cppNamespace = \"::inlay::tile\";
  let genSpecializedAttr = 0;
}
")
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/runtime/bundle/step_sizes.h @ONLY CONTENT
"// Made from enum Extent of runtime/bundle/plan.fbs.
#ifndef INLAY_RUNTIME_BUNDLE_STEP_SIZES_H_
#define INLAY_RUNTIME_BUNDLE_STEP_SIZES_H_

namespace inlay {

// The sizes of a step that every kernel receives as int32, and their names in the order of plan::Extent.
inline constexpr unsigned kStepSizeCount = @INLAY_STEP_SIZE_COUNT@;
inline constexpr const char *kStepSizeNames[kStepSizeCount] = {@strings@};

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_STEP_SIZES_H_
")
