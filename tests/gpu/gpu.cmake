# test_gpu, label `gpu`, in builds with the CUDA kernels: the tests that hold kernels, op table,
# networks and training steps against the CPU on the emulated device, here on a real one. Every
# comparison is made ten times and must give the same bits. Skipped in sight where there is none.
if(NOT BASIN_WITH_CUDA)
  return()
endif()

file(GLOB tests CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/emulation/kernels*_test.cpp"
     "${CMAKE_CURRENT_SOURCE_DIR}/emulation/step_test.cpp"
     "${CMAKE_CURRENT_SOURCE_DIR}/emulation/networks*_test.cpp"
     "${CMAKE_CURRENT_SOURCE_DIR}/autograd/op_*.cpp")
list(APPEND tests train/trainer_device_test.cpp)
add_executable(test_gpu ${tests} gpu/main.cpp)
target_link_libraries(test_gpu PRIVATE basin::basin doctest::doctest)
target_compile_definitions(test_gpu PRIVATE
  BASIN_SOURCE_DIR="${PROJECT_SOURCE_DIR}" BASIN_BIN_DIR="${PROJECT_BINARY_DIR}/bin")
basin_private_flags(test_gpu)
doctest_discover_tests(test_gpu TEST_PREFIX "gpu." TEST_SPEC "device*,emulation*"
  PROPERTIES TIMEOUT 120 SKIP_RETURN_CODE 77 SKIP_REGULAR_EXPRESSION "SKIPPED:" LABELS gpu)
