# Configures, builds and runs the consumer project WAY against this checkout. For find_package Basin is
# installed first and the prefix then moved: the package must not remember where it was made. The
# library is compiled without optimisation in the two other ways, to test the wiring in little time.
set(work "${BUILD}/consumers/${WAY}")
file(REMOVE_RECURSE "${work}")
file(MAKE_DIRECTORY "${work}")

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

set(options -D CMAKE_BUILD_TYPE=Debug)
if(WAY STREQUAL "find_package")
  run(${CMAKE_COMMAND} --install "${BUILD}" --prefix "${work}/first")
  file(RENAME "${work}/first" "${work}/moved")
  list(APPEND options -D "CMAKE_PREFIX_PATH=${work}/moved")
  file(GLOB_RECURSE texts "${work}/moved/*.cmake")
  foreach(text IN LISTS texts)
    file(READ "${text}" content)
    foreach(place "${SOURCE}/" "${BUILD}/" "${work}/first")
      string(FIND "${content}" "${place}" found)
      if(NOT found EQUAL -1)
        message(FATAL_ERROR "${text} names ${place}: the package is not relocatable")
      endif()
    endforeach()
  endforeach()
else()
  list(APPEND options -D "BASIN_SOURCE=${SOURCE}")
endif()
if(LAUNCHER)
  list(APPEND options -D "CMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}")
endif()

run(${CMAKE_COMMAND} -S "${SOURCE}/tests/consumers/${WAY}" -B "${work}/build" -G "${GENERATOR}"
    -D "CMAKE_CXX_COMPILER=${CXX}" -D "CMAKE_CXX_FLAGS=${CXX_FLAGS}" ${options})
if(WAY STREQUAL "fetch_content")
  return()  # past configuring, FetchContent is add_subdirectory
endif()
run(${CMAKE_COMMAND} --build "${work}/build" --target consumer --parallel 2)
run("${work}/build/consumer")
