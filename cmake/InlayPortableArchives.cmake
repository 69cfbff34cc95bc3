# Builds archives of the two libraries that Debian packages only as shared libraries, from the sources of the same
# packages. A portable build downloads them from Debian's pool, or uses the directories given with
# -DFETCHCONTENT_SOURCE_DIR_SIMDJSON= and _ONIGURUMA=.

include(FetchContent)
set(debian_pool https://deb.debian.org/debian/pool/main)
FetchContent_Declare(simdjson
  URL ${debian_pool}/s/simdjson/simdjson_3.0.1.orig.tar.gz
  URL_HASH SHA256=156b1bc5eb0561b2bd166b46d191fd3d95a3e709cc63761477d3b7aec2b6e9ed SOURCE_SUBDIR none)
FetchContent_Declare(oniguruma
  URL ${debian_pool}/libo/libonig/libonig_6.9.8.orig.tar.gz
  URL_HASH SHA256=26372720bab6733c869a9eb69377f73971138dc5e3eff4a81f5ba8aea5435fb2)
message(STATUS "downloading simdjson 3.0.1 and Oniguruma 6.9.8 to build archives")

# SOURCE_SUBDIR is a directory that does not exist, so that simdjson's CMakeLists.txt is not used. Its single source
# file is compiled here, without its options and tests.
FetchContent_MakeAvailable(simdjson)
add_library(inlay_simdjson STATIC ${simdjson_SOURCE_DIR}/singleheader/simdjson.cpp)
target_include_directories(inlay_simdjson SYSTEM PUBLIC ${simdjson_SOURCE_DIR}/singleheader)
# The same definition as in Debian's package.
target_compile_definitions(inlay_simdjson PUBLIC SIMDJSON_THREADS_ENABLED=1)

set(CMAKE_POLICY_DEFAULT_CMP0077 NEW) # lets the variable below override oniguruma's option
set(BUILD_SHARED_LIBS OFF)
FetchContent_GetProperties(oniguruma)
if(NOT oniguruma_POPULATED)
  FetchContent_Populate(oniguruma)
  add_subdirectory(${oniguruma_SOURCE_DIR} ${oniguruma_BINARY_DIR} EXCLUDE_FROM_ALL)
endif()

# Debian has Abseil as shared libraries and as archives. Its CMake targets refer to the shared libraries.
get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
foreach(target ${targets})
  if(NOT target MATCHES "^absl::")
    continue()
  endif()
  get_target_property(configurations ${target} IMPORTED_CONFIGURATIONS)
  if(NOT configurations)
    continue()
  endif()
  foreach(configuration ${configurations})
    get_target_property(location ${target} IMPORTED_LOCATION_${configuration})
    string(REGEX REPLACE "\\.so(\\.[0-9.]+)?$" ".a" archive "${location}")
    if(NOT EXISTS ${archive})
      message(FATAL_ERROR "${archive} was not found; a portable build needs Abseil's archives (libabsl-dev)")
    endif()
    set_target_properties(${target} PROPERTIES IMPORTED_LOCATION_${configuration} ${archive})
  endforeach()
endforeach()
