# Enums of plan.fbs that the tile dialect and the runtime share: each has its one list there. They are written as TableGen
# for the tile dialect (dialects/tile/PlanEnums.td). The sizes of a step (Extent) are also written as C++ for the compiler
# and the runtime, and their number (INLAY_STEP_SIZE_COUNT) for the device headers.

# inlay_plan_enum(NAME RESULT): the names of the enumerators, without comments and values.
function(inlay_plan_enum name result)
  set(plan ${CMAKE_SOURCE_DIR}/runtime/bundle/plan.fbs)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${plan})
  file(READ ${plan} text)
  string(REGEX REPLACE "//[^\n]*" "" text "${text}")
  if(NOT text MATCHES "enum ${name} [^{]*{([^}]*)}")
    message(FATAL_ERROR "${plan}: has no enum ${name}; expected one, which the tile dialect shares")
  endif()
  string(REGEX MATCHALL "[A-Z][A-Za-z]*" names "${CMAKE_MATCH_1}")
  set(${result} ${names} PARENT_SCOPE)
endfunction()

# The sizes of a step. One is none: it stands for the number 1.
inlay_plan_enum(Extent names)
list(REMOVE_ITEM names One)
list(LENGTH names INLAY_STEP_SIZE_COUNT)
set(extents "")
set(strings "")
foreach(name IN LISTS names)
  string(REGEX REPLACE "([a-z])([A-Z])" "\\1_\\2" snake ${name})
  string(TOLOWER ${snake} snake)
  list(LENGTH strings number)
  list(APPEND extents "    I32EnumAttrCase<\"${name}\", ${number}, \"${snake}\">")
  list(APPEND strings "\"${snake}\"")
endforeach()
list(JOIN extents ",\n" extents)
list(JOIN strings ", " strings)

# The arrays that the host writes before a step.
inlay_plan_enum(Metadata names)
set(arrays "")
foreach(name IN LISTS names)
  list(LENGTH arrays number)
  list(APPEND arrays "    I32EnumAttrCase<\"${name}\", ${number}>")
endforeach()
list(JOIN arrays ",\n" arrays)

file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/dialects/tile/PlanEnums.td @ONLY CONTENT
"// Made from runtime/bundle/plan.fbs.
class Tile_PlanEnum<string name, string summary, list<I32EnumAttrCase> cases> : I32EnumAttr<name, summary, cases> {
  let cppNamespace = \"::inlay::tile\";
  let genSpecializedAttr = 0;
}
def Tile_Extent : Tile_PlanEnum<\"Extent\", \"a size of the step\", [
@extents@]>;
def Tile_Metadata : Tile_PlanEnum<\"Metadata\", \"array of metadata\", [
@arrays@]>;
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
