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
foreach(name step task feed)
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
  set(sources)
  foreach(folder core kernels autograd nn models optim)
    file(GLOB_RECURSE found CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/${folder}/*.cpp")
    list(APPEND sources ${found})
  endforeach()
  basin_emulated_cuda_sources(device)
  set_source_files_properties("${PROJECT_BINARY_DIR}/generated/version.cpp" PROPERTIES GENERATED ON)
  add_executable(test_emulation ${tests} ${planted} main.cpp ${sources} ${device}
                 "${PROJECT_BINARY_DIR}/generated/version.cpp")
  add_dependencies(test_emulation basin_version)
  target_compile_features(test_emulation PRIVATE cxx_std_20)
  set_target_properties(test_emulation PROPERTIES CXX_EXTENSIONS OFF)
  target_include_directories(test_emulation PRIVATE "${PROJECT_BINARY_DIR}/include")
  target_compile_definitions(test_emulation PRIVATE BASIN_HAS_CUDA
    BASIN_SOURCE_DIR="${PROJECT_SOURCE_DIR}" BASIN_BIN_DIR="${PROJECT_BINARY_DIR}/bin")
  target_link_libraries(test_emulation PRIVATE Threads::Threads basin_deps::blas doctest::doctest)
  target_compile_options(test_emulation PRIVATE ${flags})
  target_link_options(test_emulation PRIVATE ${flags})
endif()
target_include_directories(test_emulation PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/emulation")
target_compile_definitions(test_emulation PRIVATE BASIN_EMULATED_DEVICE)
basin_private_flags(test_emulation)
doctest_discover_tests(test_emulation TEST_PREFIX "" TEST_SPEC "device*,emulation*"
  PROPERTIES TIMEOUT 600 SKIP_REGULAR_EXPRESSION "SKIPPED:" LABELS emulation)
