# Rules for `cmake --install` and find_package(Inlay): the tools, Inlay::runtime with its public header, and libinlay.so
# (Inlay::c) with the C interface.

include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Inlay)

get_property(runtime_libraries GLOBAL PROPERTY INLAY_RUNTIME_LIBRARIES)
add_library(inlay_runtime INTERFACE)
target_link_libraries(inlay_runtime INTERFACE ${runtime_libraries})
target_include_directories(inlay_runtime INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/inlay>)
set_target_properties(inlay_runtime PROPERTIES EXPORT_NAME runtime)
add_library(Inlay::runtime ALIAS inlay_runtime)

install(TARGETS inlay_runtime inlay_flags ${runtime_libraries} EXPORT InlayTargets)
install(EXPORT InlayTargets NAMESPACE Inlay:: DESTINATION ${package_dir})
# Installed under the same path as in the sources: #include "runtime/api/inlay.h".
install(FILES ${CMAKE_SOURCE_DIR}/runtime/api/inlay.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/inlay/runtime/api)
# libinlay.so is a separate component for programs in C and other languages: find_package(Inlay COMPONENTS c), or
# pkg-config.
install(TARGETS inlay_c EXPORT InlayCTargets LIBRARY)
install(EXPORT InlayCTargets NAMESPACE Inlay:: DESTINATION ${package_dir})
install(FILES ${CMAKE_SOURCE_DIR}/runtime/c/inlay.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/inlay)
set(pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
cmake_path(RELATIVE_PATH CMAKE_INSTALL_FULL_INCLUDEDIR BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX}/${pc_dir} OUTPUT_VARIABLE pc_includedir)
cmake_path(RELATIVE_PATH CMAKE_INSTALL_FULL_LIBDIR BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX}/${pc_dir} OUTPUT_VARIABLE pc_libdir)
configure_file(${CMAKE_SOURCE_DIR}/runtime/c/inlay.pc.in ${CMAKE_BINARY_DIR}/inlay.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/inlay.pc DESTINATION ${pc_dir})

install(FILES ${CMAKE_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

configure_package_config_file(${CMAKE_SOURCE_DIR}/cmake/InlayConfig.cmake.in ${CMAKE_BINARY_DIR}/InlayConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/InlayConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/InlayConfig.cmake ${CMAKE_BINARY_DIR}/InlayConfigVersion.cmake DESTINATION ${package_dir})
