# Programs: tools/<name>.cpp, or the folder tools/<name>/*.cpp, or both together, is the program
# <name> in <build>/bin. What they share is libraries, which others' programs may link too, apart
# from basin::basin:
#   basin::shell  tools/shell: command line, configuration, run directory, train_main()
#   basin::probe  tools/landscape_probe without its main(): the parts and their registry
#   basin::study  tools/study without its main()
# The command-line, TOML and JSON libraries are headers that only their sources see.
find_package(CLI11 CONFIG REQUIRED)
find_package(tomlplusplus CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)

set(basin_tools_root "${PROJECT_SOURCE_DIR}/tools")
function(basin_tools_library name)
  cmake_parse_arguments(arg "" "FOLDER" "PUBLIC" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${basin_tools_root}/${arg_FOLDER}/*.cpp")
  list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
  add_library(basin_${name} STATIC ${sources})
  add_library(basin::${name} ALIAS basin_${name})
  set_target_properties(basin_${name} PROPERTIES
    EXPORT_NAME ${name} POSITION_INDEPENDENT_CODE ON CXX_EXTENSIONS OFF
    UNITY_BUILD_BATCH_SIZE ${BASIN_BATCH})
  basin_private_flags(basin_${name})
  basin_cold_code(basin_${name})
  target_link_libraries(basin_${name} PUBLIC ${arg_PUBLIC})
  foreach(headers IN ITEMS CLI11::CLI11 tomlplusplus::tomlplusplus nlohmann_json::nlohmann_json)
    target_include_directories(basin_${name} SYSTEM PRIVATE
      $<TARGET_PROPERTY:${headers},INTERFACE_INCLUDE_DIRECTORIES>)
  endforeach()
  if(BASIN_INSTALL)
    install(TARGETS basin_${name} EXPORT basinTargets
            ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
    install(DIRECTORY "${basin_tools_root}/${arg_FOLDER}/"
            DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/basin/tools/${arg_FOLDER}"
            FILES_MATCHING PATTERN "*.h" PATTERN "detail" EXCLUDE)
  endif()
endfunction()

basin_tools_library(shell FOLDER shell PUBLIC basin::basin)
if(BASIN_HAS_MPI)
  basin_find_mpi()
  target_link_libraries(basin_shell PRIVATE MPI::MPI_CXX)
  target_compile_definitions(basin_shell PRIVATE BASIN_HAS_MPI)
endif()
basin_tools_library(probe FOLDER landscape_probe PUBLIC basin_shell)
basin_tools_library(study FOLDER study PUBLIC basin_probe)

# Published ratios are data; the programs carry a copy, so that they need no file beside them.
set_property(DIRECTORY "${PROJECT_SOURCE_DIR}" APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
             "${PROJECT_SOURCE_DIR}/studies/published.toml")
file(READ "${PROJECT_SOURCE_DIR}/studies/published.toml" BASIN_PUBLISHED_TOML)
configure_file("${PROJECT_SOURCE_DIR}/cmake/published_toml.cpp.in"
               "${PROJECT_BINARY_DIR}/generated/published_toml.cpp" @ONLY)
target_sources(basin_probe PRIVATE "${PROJECT_BINARY_DIR}/generated/published_toml.cpp")

file(GLOB singles CONFIGURE_DEPENDS "${basin_tools_root}/*.cpp")
file(GLOB_RECURSE nested CONFIGURE_DEPENDS "${basin_tools_root}/*/*.cpp")
set(programs)
foreach(source IN LISTS singles nested)
  cmake_path(RELATIVE_PATH source BASE_DIRECTORY "${basin_tools_root}" OUTPUT_VARIABLE name)
  string(REGEX REPLACE "[/.].*" "" name "${name}")
  if(name STREQUAL "shell" OR
     (name MATCHES "^(landscape_probe|study)$" AND NOT source MATCHES "/main\\.cpp$"))
    continue()
  endif()
  list(APPEND programs ${name})
  list(APPEND sources_${name} "${source}")
endforeach()
list(REMOVE_DUPLICATES programs)

set(BASIN_PROGRAMS)
foreach(name IN LISTS programs)
  if((name STREQUAL "bench" AND NOT BASIN_BUILD_BENCH) OR
     (NOT name STREQUAL "bench" AND NOT BASIN_BUILD_TOOLS))
    continue()
  endif()
  add_executable(${name} ${sources_${name}})
  target_link_libraries(${name} PRIVATE basin_shell)
  if(name STREQUAL "landscape_probe")
    target_link_libraries(${name} PRIVATE basin_probe)
  elseif(name STREQUAL "study")
    target_link_libraries(${name} PRIVATE basin_study)
  endif()
  basin_private_flags(${name})
  if(NOT name STREQUAL "bench")
    basin_cold_code(${name})
  endif()
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
  list(APPEND BASIN_PROGRAMS ${name})
endforeach()
if(TARGET bench)
  basin_use_nanoflann(bench)
endif()
if(BASIN_INSTALL AND BASIN_PROGRAMS)
  install(TARGETS ${BASIN_PROGRAMS} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
