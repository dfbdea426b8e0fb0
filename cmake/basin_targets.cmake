# How a folder of the house becomes a target. The flags here are PRIVATE: a consumer of Basin gets
# the include directory, C++20 and the link lines, never a warning or optimisation flag.
include_guard(GLOBAL)

function(basin_private_flags target)
  target_compile_options(${target} PRIVATE
    $<$<COMPILE_LANG_AND_ID:CXX,GNU,Clang>:-Wall;-Wextra;-fno-math-errno;-fno-trapping-math>
    # GCC 12 sees overlapping copies in "text" + std::string (its bug 105651).
    $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-restrict>)
endfunction()

# Sources of Basin's libraries that CMAKE_UNITY_BUILD puts together, whatever size the project has that
# takes Basin in: the groups are those which every build of tools/test.sh compiles.
set(BASIN_BATCH 6)

# Sources that keep to themselves under CMAKE_UNITY_BUILD, where several sources of a target are
# compiled as one: their anonymous namespaces share names with others of the folder. Whoever adds a
# name that exists already sees "redefinition" in the build of tools/test.sh and chooses another, or
# adds the source here.
set(BASIN_ALONE
  autograd/ops/gata.cpp autograd/ops/linear_max.cpp autograd/ops/norm.cpp
  core/storage.cpp models/egnn.cpp models/gotennet.cpp models/pointnet.cpp
  figures/contour.cpp figures/curvature_bars.cpp figures/forest_plot.cpp figures/heat_map.cpp
  figures/layer_ranks.cpp figures/line_plot.cpp figures/strip_plot.cpp)
list(TRANSFORM BASIN_ALONE PREPEND "${PROJECT_SOURCE_DIR}/")
set_source_files_properties(${BASIN_ALONE} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
# GCC notes that vectors wider than the target's registers are passed otherwise by other versions;
# these functions are called within their own source only.
set_source_files_properties(${PROJECT_SOURCE_DIR}/kernels/cpu/gata.cpp
  ${PROJECT_SOURCE_DIR}/kernels/cpu/edge_products.cpp
  ${PROJECT_SOURCE_DIR}/kernels/cpu/mlp_jet.cpp PROPERTIES COMPILE_OPTIONS -Wno-psabi)

# Code in which no time is spent, a quarter of the sources' compile time less. No bit of a result
# depends on it: without -ffast-math and fused operations, which only kernels and optim use, GCC and
# Clang compute what is written at any level.
function(basin_cold_code target)
  target_compile_options(${target} PRIVATE
    $<$<AND:$<CONFIG:Release>,$<COMPILE_LANG_AND_ID:CXX,GNU,Clang>>:-O1>)
endfunction()

# basin_library(<name> PUBLIC <targets> [PRIVATE <targets>] [FOLDER <folder>] [EXCLUDE <regex>]):
# target basin_<name>, also known as basin::<name>, of all .cpp below the folder (by default the one
# of that name), paths that match the expression left out. A folder of headers only is an INTERFACE
# library.
function(basin_library name)
  cmake_parse_arguments(arg "" "FOLDER;EXCLUDE" "PUBLIC;PRIVATE" ${ARGN})
  set(target basin_${name})
  set(folder ${name})
  if(arg_FOLDER)
    set(folder ${arg_FOLDER})
  endif()
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/${folder}/*.cpp")
  if(arg_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX "${arg_EXCLUDE}")
  endif()
  if(sources)
    set(scope PUBLIC)
    add_library(${target} STATIC ${sources})
    target_link_libraries(${target} PUBLIC ${arg_PUBLIC} PRIVATE ${arg_PRIVATE})
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_EXTENSIONS OFF
      UNITY_BUILD_BATCH_SIZE ${BASIN_BATCH})
    basin_private_flags(${target})
  else()
    set(scope INTERFACE)
    add_library(${target} INTERFACE)
    target_link_libraries(${target} INTERFACE ${arg_PUBLIC})
  endif()
  add_library(basin::${name} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  target_compile_features(${target} ${scope} cxx_std_20)
  target_include_directories(${target} ${scope}
    $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  if(NOT arg_FOLDER)  # one within another folder is installed and tested with that one
    set(BASIN_FOLDERS ${BASIN_FOLDERS} ${folder} PARENT_SCOPE)
  endif()
  set(BASIN_LIBRARIES ${BASIN_LIBRARIES} ${target} PARENT_SCOPE)
endfunction()

# Scope of a property: an INTERFACE library (no sources) has no PRIVATE side.
function(basin_scope folder scope result)
  get_target_property(type basin_${folder} TYPE)
  if(type STREQUAL "INTERFACE_LIBRARY")
    set(scope INTERFACE)
  endif()
  set(${result} ${scope} PARENT_SCOPE)
endfunction()

function(basin_link folder scope)
  basin_scope(${folder} ${scope} scope)
  target_link_libraries(basin_${folder} ${scope} ${ARGN})
endfunction()

function(basin_define folder scope)
  basin_scope(${folder} ${scope} scope)
  target_compile_definitions(basin_${folder} ${scope} ${ARGN})
endfunction()

# In a unity build one source could be inlined into another, and then other products and sums would
# contract to fused operations where the instruction set has them: other bits.
function(basin_no_unity)
  foreach(folder IN LISTS ARGN)
    get_target_property(type basin_${folder} TYPE)
    if(type STREQUAL "STATIC_LIBRARY")
      set_target_properties(basin_${folder} PROPERTIES UNITY_BUILD OFF)
    endif()
  endforeach()
endfunction()

# GCC prefers 256-bit vectors where 512-bit ones exist; the hot loops, which pick their instruction
# set at run time, want the wide ones.
function(basin_wide_vectors)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU" OR NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    return()
  endif()
  foreach(folder IN LISTS ARGN)
    get_target_property(type basin_${folder} TYPE)
    if(type STREQUAL "STATIC_LIBRARY")
      target_compile_options(basin_${folder} PRIVATE
        $<$<COMPILE_LANGUAGE:CXX>:-mprefer-vector-width=512>)
    endif()
  endforeach()
endfunction()

# The CUDA side of the kernels. Both directions of the link are real: launch.h in the kernels names
# the device functions, and the .cu files use the helpers of the kernels.
function(basin_cuda_library)
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/kernels/cuda/*.cu")
  if(NOT sources)
    message(STATUS "Basin: no .cu file in kernels/cuda, the CUDA target is left out")
    return()
  endif()
  add_library(basin_cuda STATIC ${sources})
  add_library(basin::cuda ALIAS basin_cuda)
  set_target_properties(basin_cuda PROPERTIES EXPORT_NAME cuda POSITION_INDEPENDENT_CODE ON)
  # By hand: CMake 3.25 does not know nvcc's flag for C++20.
  target_compile_options(basin_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20;--extended-lambda;-Xcompiler=-Wall;-Xptxas=-v>)
  set_target_properties(basin_cuda PROPERTIES
    RULE_LAUNCH_COMPILE "${PROJECT_SOURCE_DIR}/cmake/keep_ptxas.sh <OBJECT>")
  target_link_libraries(basin_cuda PUBLIC basin_core PRIVATE CUDA::cudart CUDA::cublas)
  basin_link(kernels PUBLIC basin_cuda)
  set(BASIN_LIBRARIES ${BASIN_LIBRARIES} basin_cuda PARENT_SCOPE)
endfunction()

# The same .cu sources as C++, with tests/emulation in place of the CUDA toolkit: a device that runs
# on the processor, for machines without a GPU and for the sanitizers. ThreadSanitizer
# watches the kernels; the emulator tells it which thread runs and stays out of it itself.
function(basin_emulated_cuda_sources result)
  file(GLOB kernels CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/kernels/cuda/*.cu")
  file(GLOB emulator CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/emulation/*.cpp")
  list(FILTER emulator EXCLUDE REGEX "_test\\.cpp$")
  set_source_files_properties(${kernels} PROPERTIES LANGUAGE CXX
    INCLUDE_DIRECTORIES "${PROJECT_SOURCE_DIR}/tests/emulation")
  if(BASIN_EMULATED_FMA)  # shows whether a comparison's bound would hold on a device
    set_source_files_properties(${kernels} PROPERTIES COMPILE_OPTIONS "-O2;-mfma;-ffp-contract=fast")
  endif()
  if(CMAKE_CXX_FLAGS MATCHES "fsanitize=thread")
    set_source_files_properties(${emulator} PROPERTIES
      COMPILE_OPTIONS "-fno-sanitize=thread;-DBASIN_EMULATION_RACES")
  endif()
  set(${result} ${kernels} ${emulator} PARENT_SCOPE)
endfunction()

function(basin_emulated_cuda_library)
  basin_emulated_cuda_sources(sources)
  add_library(basin_cuda STATIC ${sources})
  add_library(basin::cuda ALIAS basin_cuda)
  set_target_properties(basin_cuda PROPERTIES EXPORT_NAME cuda POSITION_INDEPENDENT_CODE ON)
  basin_private_flags(basin_cuda)
  target_link_libraries(basin_cuda PUBLIC basin_core)
  basin_link(kernels PUBLIC basin_cuda)
  set(BASIN_LIBRARIES ${BASIN_LIBRARIES} basin_cuda PARENT_SCOPE)
endfunction()

# version_info() reads one generated file. It is rewritten only when the commit or the dirty flag
# changes, so a commit costs one small compile and the links. Build type and flags are definitions of
# this source, BASIN_VERSION_DEFINITIONS: a generator of several configurations has others for each.
function(basin_embed_version folder)
  string(TOUPPER "${CMAKE_BUILD_TYPE}" upper)
  string(STRIP "${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${upper}}" flags)
  if(CMAKE_CONFIGURATION_TYPES)
    set(flags)
    foreach(type IN LISTS CMAKE_CONFIGURATION_TYPES)
      string(TOUPPER "${type}" upper)
      string(STRIP "${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${upper}}" of_type)
      string(APPEND flags "$<$<CONFIG:${type}>:${of_type}>")
    endforeach()
  endif()
  set(definitions "BASIN_BUILD_TYPE=\"$<CONFIG>\"" "BASIN_BUILD_FLAGS=\"${flags}\"")
  set(BASIN_VERSION_DEFINITIONS "${definitions}" PARENT_SCOPE)
  set(output "${PROJECT_BINARY_DIR}/generated/version.cpp")
  set(command ${CMAKE_COMMAND} -D SOURCE=${PROJECT_SOURCE_DIR} -D OUTPUT=${output}
      -D VERSION=${PROJECT_VERSION}
      -D COMPILER=${CMAKE_CXX_COMPILER_ID}\ ${CMAKE_CXX_COMPILER_VERSION}
      -P ${PROJECT_SOURCE_DIR}/cmake/basin_version.cmake)
  execute_process(COMMAND ${command} COMMAND_ERROR_IS_FATAL ANY)
  add_custom_target(basin_version BYPRODUCTS ${output} COMMAND ${command} VERBATIM
                    COMMENT "Reading the commit")
  set_source_files_properties(${output} PROPERTIES COMPILE_DEFINITIONS "${definitions}")
  target_sources(basin_${folder} PRIVATE ${output})
  add_dependencies(basin_${folder} basin_version)
endfunction()

# examples/<name>/main.cpp -> program example_<name>
function(basin_examples)
  file(GLOB mains CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/examples/*/main.cpp")
  foreach(main IN LISTS mains)
    cmake_path(GET main PARENT_PATH folder)
    cmake_path(GET folder FILENAME name)
    file(GLOB sources CONFIGURE_DEPENDS "${folder}/*.cpp")
    add_executable(example_${name} ${sources})
    target_link_libraries(example_${name} PRIVATE basin::basin $<TARGET_NAME_IF_EXISTS:basin::shell>)
    basin_private_flags(example_${name})
    set_target_properties(example_${name} PROPERTIES
      RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
  endforeach()
endfunction()

# tests/fuzz/<name>.cpp -> libFuzzer program fuzz_<name>; `fuzz` builds them all. Each is built from
# its parser and what that needs, not from all of Basin: minutes less, and the coverage that
# libFuzzer counts is the parser's.
function(basin_fuzz_target name)
  cmake_parse_arguments(arg "" "" "LINK;SOURCES" ${ARGN})
  list(TRANSFORM arg_SOURCES PREPEND "${PROJECT_SOURCE_DIR}/")
  add_executable(fuzz_${name} "${PROJECT_SOURCE_DIR}/tests/fuzz/${name}.cpp" ${arg_SOURCES})
  target_link_libraries(fuzz_${name} PRIVATE ${arg_LINK})
  basin_private_flags(fuzz_${name})
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  set_target_properties(fuzz_${name} PROPERTIES
    CXX_EXTENSIONS OFF RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
  add_dependencies(fuzz fuzz_${name})
endfunction()

function(basin_fuzz_targets)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "BASIN_BUILD_FUZZ: needs clang (libFuzzer), given "
                        "${CMAKE_CXX_COMPILER_ID}; use the preset 'fuzz'")
  endif()
  find_package(tomlplusplus CONFIG REQUIRED)
  find_package(nlohmann_json CONFIG REQUIRED)
  basin_define(core PRIVATE BASIN_FENCE_HOST)
  add_custom_target(fuzz)
  basin_fuzz_target(safetensors LINK basin_core)
  foreach(name graphs hdf5 mat5 npy npz obj off ply text_clouds
               molecules_xyz molecules_sdf molecules_npz molecule_tables)
    basin_fuzz_target(${name} LINK basin_datasets)
  endforeach()
  basin_fuzz_target(slice_file LINK basin_core SOURCES analysis/slice_file.cpp analysis/slices.cpp
                    analysis/directions.cpp analysis/csv.cpp analysis/csv_table.cpp)
  basin_fuzz_target(flat_json LINK basin_core)
  basin_fuzz_target(toml LINK basin_core tomlplusplus::tomlplusplus
                    SOURCES tools/shell/config.cpp)
  basin_fuzz_target(probe_record LINK basin_core nlohmann_json::nlohmann_json
                    SOURCES tools/landscape_probe/record.cpp)
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/fuzz/*.cpp")
  foreach(source IN LISTS sources)
    cmake_path(GET source STEM name)
    if(NOT TARGET fuzz_${name})
      message(FATAL_ERROR "BASIN_BUILD_FUZZ: ${source} has no line in basin_fuzz_targets")
    endif()
  endforeach()
endfunction()

# The header of nanoflann: a yardstick for bench and the tests, which do without where it is absent.
# No library of Basin sees it.
function(basin_use_nanoflann target)
  find_path(BASIN_NANOFLANN_INCLUDE_DIR nanoflann.hpp)
  mark_as_advanced(BASIN_NANOFLANN_INCLUDE_DIR)
  if(BASIN_NANOFLANN_INCLUDE_DIR)
    target_include_directories(${target} SYSTEM PRIVATE ${BASIN_NANOFLANN_INCLUDE_DIR})
    target_compile_definitions(${target} PRIVATE BASIN_HAS_NANOFLANN)
  endif()
endfunction()
