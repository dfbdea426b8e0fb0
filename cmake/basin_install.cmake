# Install rules: headers to include/basin, libraries, and a relocatable package that
# find_package(basin) reads. Headers below kernels/cpu and kernels/cuda are the libraries' own and
# stay at home.
include(CMakePackageConfigHelpers)
set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/basin")

foreach(folder IN LISTS BASIN_FOLDERS)
  install(DIRECTORY "${PROJECT_SOURCE_DIR}/${folder}/"
          DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/basin/${folder}"
          FILES_MATCHING PATTERN "*.h" PATTERN "cpu" EXCLUDE PATTERN "cuda" EXCLUDE
          PATTERN "detail" EXCLUDE)
endforeach()
install(FILES "${PROJECT_SOURCE_DIR}/basin.h" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/basin")

install(TARGETS basin ${BASIN_LIBRARIES} EXPORT basinTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT basinTargets NAMESPACE basin:: DESTINATION ${package_dir})
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/basinConfig.cmake.in"
  "${PROJECT_BINARY_DIR}/basinConfig.cmake" INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file("${PROJECT_BINARY_DIR}/basinConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/basinConfig.cmake"
              "${PROJECT_BINARY_DIR}/basinConfigVersion.cmake"
              "${PROJECT_SOURCE_DIR}/cmake/basin_dependencies.cmake"
        DESTINATION ${package_dir})
