# test_emulation: see tests/CMakeLists.txt. Not with a real device (its own tests compare it), nor
# under Clang or a sanitizer of the whole build that cannot be mixed with these.
if(BASIN_WITH_CUDA OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  return()
endif()

file(GLOB tests CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/emulation/*_test.cpp"
     "${CMAKE_CURRENT_SOURCE_DIR}/autograd/op_*.cpp")
file(GLOB planted CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/emulation/*.cu")
set_source_files_properties(${planted} PROPERTIES LANGUAGE CXX)

# The training step and what feeds it is all that the tests need of train/.
foreach(name step step_parts microbatch communicator task feed)
  list(APPEND tests "${PROJECT_SOURCE_DIR}/train/${name}.cpp")
endforeach()

if(BASIN_EMULATE_CUDA)
  add_executable(test_emulation ${tests} ${planted})
  target_link_libraries(test_emulation PRIVATE basin_test_main)
else()
  if(CMAKE_CXX_FLAGS MATCHES "fsanitize")
    set(flags)
  else()
    set(flags -O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all
        -fno-omit-frame-pointer)
  endif()
  add_library(basin_emulated INTERFACE)
  target_compile_features(basin_emulated INTERFACE cxx_std_20)
  target_include_directories(basin_emulated INTERFACE "${PROJECT_BINARY_DIR}/include")
  target_compile_definitions(basin_emulated INTERFACE BASIN_HAS_CUDA
    BASIN_SOURCE_DIR="${PROJECT_SOURCE_DIR}" BASIN_BIN_DIR="${PROJECT_BINARY_DIR}/bin")
  target_compile_options(basin_emulated INTERFACE ${flags})
  target_link_options(basin_emulated INTERFACE ${flags})
  target_link_libraries(basin_emulated INTERFACE Threads::Threads basin_deps::blas doctest::doctest)
  function(basin_emulated_sources result)
    set(sources)
    foreach(folder IN LISTS ARGN)
      file(GLOB_RECURSE found CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/${folder}/*.cpp")
      list(APPEND sources ${found})
    endforeach()
    set(${result} ${sources} PARENT_SCOPE)
  endfunction()

  # In two parts: a unity build leaves kernels as they are.
  basin_emulated_sources(upper core autograd nn models optim)
  list(APPEND upper ${tests})
  add_library(basin_emulated_upper OBJECT ${upper} "${PROJECT_BINARY_DIR}/generated/version.cpp")
  set_source_files_properties(${BASIN_ALONE} emulation/kernels_message_test.cpp
    emulation/networks_test.cpp emulation/step_test.cpp
    PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  set_source_files_properties("${PROJECT_BINARY_DIR}/generated/version.cpp" PROPERTIES
    GENERATED ON COMPILE_DEFINITIONS "${BASIN_VERSION_DEFINITIONS}")
  add_dependencies(basin_emulated_upper basin_version)
  target_link_libraries(basin_emulated_upper PUBLIC basin_emulated)
  target_include_directories(basin_emulated_upper PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/emulation")
  target_compile_definitions(basin_emulated_upper PRIVATE BASIN_EMULATED_DEVICE)
  set_target_properties(basin_emulated_upper PROPERTIES CXX_EXTENSIONS OFF
    UNITY_BUILD_BATCH_SIZE ${BASIN_BATCH})
  basin_private_flags(basin_emulated_upper)

  basin_emulated_sources(lower kernels)
  # Loops that are unrolled for every degree and number type: with all checks the optimizer takes
  # minutes for each of them.
  set_source_files_properties(${PROJECT_SOURCE_DIR}/kernels/cpu/gata.cpp
    ${PROJECT_SOURCE_DIR}/kernels/cuda/gata.cu ${PROJECT_SOURCE_DIR}/kernels/cpu/edge_products.cpp
    ${PROJECT_SOURCE_DIR}/kernels/cpu/mlp_jet.cpp PROPERTIES COMPILE_OPTIONS -O0)
  basin_emulated_cuda_sources(device)
  add_executable(test_emulation main.cpp ${planted} ${lower} ${device})
  target_link_libraries(test_emulation PRIVATE basin_emulated_upper)
  set_target_properties(test_emulation PROPERTIES CXX_EXTENSIONS OFF)
endif()
target_include_directories(test_emulation PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/emulation")
target_compile_definitions(test_emulation PRIVATE BASIN_EMULATED_DEVICE)
set_target_properties(test_emulation PROPERTIES UNITY_BUILD OFF)
basin_private_flags(test_emulation)
doctest_discover_tests(test_emulation TEST_PREFIX "" TEST_SPEC "device*,emulation*"
  PROPERTIES TIMEOUT 600 SKIP_REGULAR_EXPRESSION "SKIPPED:" LABELS emulation)
doctest_discover_tests(test_emulation TEST_PREFIX "" TEST_SPEC "launches*"
  PROPERTIES TIMEOUT 600 LABELS perf)
