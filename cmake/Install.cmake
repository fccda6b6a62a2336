# Installs the libraries, their headers, the executable and a CMake package:
#
#   find_package(mcci REQUIRED)
#   target_link_libraries(program PRIVATE mcci::mcci)     # or single rooms: mcci::signal, mcci::nn, ...

include(CMakePackageConfigHelpers)
set(MCCI_CMAKEDIR ${CMAKE_INSTALL_LIBDIR}/cmake/mcci)

get_property(MCCI_ROOM_TARGETS GLOBAL PROPERTY MCCI_ROOMS)
add_library(mcci INTERFACE)
add_library(mcci::mcci ALIAS mcci)
target_link_libraries(mcci INTERFACE ${MCCI_ROOM_TARGETS})
set_target_properties(mcci_torch PROPERTIES EXPORT_NAME torch)

install(TARGETS mcci mcci_torch ${MCCI_ROOM_TARGETS} EXPORT mcci
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(TARGET mcci_cli)
  install(TARGETS mcci_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/mcci DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.hpp" PATTERN "cli" EXCLUDE)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/NOTICE DESTINATION ${CMAKE_INSTALL_DOCDIR})

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/mcciConfig.cmake.in ${PROJECT_BINARY_DIR}/mcciConfig.cmake
                              INSTALL_DESTINATION ${MCCI_CMAKEDIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/mcciConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(EXPORT mcci NAMESPACE mcci:: FILE mcciTargets.cmake DESTINATION ${MCCI_CMAKEDIR})
install(FILES ${PROJECT_BINARY_DIR}/mcciConfig.cmake ${PROJECT_BINARY_DIR}/mcciConfigVersion.cmake
        DESTINATION ${MCCI_CMAKEDIR})
