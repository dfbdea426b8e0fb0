# test_races, label `emulation`: the emulated device under ThreadSanitizer. What it needs of Basin is
# built once more with that sanitizer; only in builds without one.
if(BASIN_WITH_CUDA OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU" OR CMAKE_CXX_FLAGS MATCHES "fsanitize")
  return()
endif()

file(GLOB_RECURSE core CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/core/*.cpp")
file(GLOB emulator CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/emulation/*.cpp")
list(FILTER emulator EXCLUDE REGEX "(_test|cublas)\\.cpp$")
set(flags -O1 -g1 -fsanitize=thread -fno-omit-frame-pointer)

# The emulator itself stays out of the sanitizer's sight and tells it which thread runs.
add_library(basin_race_emulator OBJECT ${emulator})
target_compile_definitions(basin_race_emulator PRIVATE BASIN_EMULATION_RACES)
set(watched ${core} races/main.cpp emulation/planted.cu)
foreach(name runtime graph upload)
  list(APPEND watched "${PROJECT_SOURCE_DIR}/kernels/cuda/${name}.cu")
endforeach()
set_source_files_properties(${watched} PROPERTIES LANGUAGE CXX)
add_executable(test_races ${watched} "${PROJECT_BINARY_DIR}/generated/version.cpp")
target_link_libraries(test_races PRIVATE basin_race_emulator Threads::Threads)
target_compile_options(test_races PRIVATE ${flags})
target_link_options(test_races PRIVATE ${flags})
add_dependencies(test_races basin_version)
foreach(target test_races basin_race_emulator)
  target_compile_features(${target} PRIVATE cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  target_include_directories(${target} PRIVATE "${PROJECT_BINARY_DIR}/include"
                             "${CMAKE_CURRENT_SOURCE_DIR}/emulation")
  target_compile_definitions(${target} PRIVATE BASIN_HAS_CUDA)
  basin_private_flags(${target})
endforeach()

add_test(NAME "emulation races: the right kernel has none" COMMAND test_races)
add_test(NAME "emulation races: a missing barrier is a data race" COMMAND test_races planted)
set_tests_properties("emulation races: the right kernel has none" PROPERTIES
  LABELS emulation TIMEOUT 60 SKIP_REGULAR_EXPRESSION "unexpected memory mapping")
set_tests_properties("emulation races: a missing barrier is a data race" PROPERTIES
  LABELS emulation TIMEOUT 60 SKIP_REGULAR_EXPRESSION "unexpected memory mapping"
  PASS_REGULAR_EXPRESSION "data race.*row_sums_kernel .*planted.cu:16.*row_sums_kernel .*planted.cu:23")
