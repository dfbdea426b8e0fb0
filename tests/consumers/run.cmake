# Configures, builds and runs the consumer project WAY against this checkout.
#   find_package: Basin is installed and the prefix then moved: the package must not remember where
#     it was made. Three programs and the one that all ways share; one writes weights, one reads
#     them.
#   add_subdirectory, fetch_content: the library is compiled as part of the user's project, without
#     optimisation, to test the wiring in little time, and as a unity build of any size, as the user
#     may make all of his. Both use one build folder in turn, so the second finds the objects of the
#     first.
#   multi_config: a generator of several configurations, each of which says which one it is.
if(WAY STREQUAL "find_package")
  set(work "${BUILD}/consumers/installed")
  file(REMOVE_RECURSE "${work}")
else()
  set(work "${BUILD}/consumers/source")
endif()
file(MAKE_DIRECTORY "${work}")

# A landscape_probe with a part of the user's own, on the weights of own_optimizer: the part is in
# the report with its table and figure, is not measured twice, and gives a verdict.
function(check_own_part program weights folder)
  set(probe "${program}" run "${weights}" --task modelnet --model pointnet
      --set model.widths=8,16,32,16,8 --points 64 --parts ranks,small_weights)
  run(${probe} --out "${folder}/a")
  run(${probe} --out "${folder}/b" --small 0.1)
  foreach(file small_weights.json tables/small_weights.csv figures/small-weights.svg report.html)
    if(NOT EXISTS "${folder}/a/${file}")
      message(FATAL_ERROR "${folder}/a/${file} is missing: the part of the consumer left nothing")
    endif()
  endforeach()
  file(READ "${folder}/a/report.html" page)
  if(NOT page MATCHES "Counted by a part of the user's own" AND
     NOT page MATCHES "Counted by a part of the user&#39;s own")
    message(FATAL_ERROR "${folder}/a/report.html does not name the part of the consumer")
  endif()
  execute_process(COMMAND ${probe} --out "${folder}/a" ERROR_VARIABLE log OUTPUT_QUIET
                  COMMAND_ERROR_IS_FATAL ANY)
  if(NOT log MATCHES "small_weights: there already" OR log MATCHES "done in")
    message(FATAL_ERROR "the part of the consumer was measured twice: ${log}")
  endif()
  run("${program}" compare "${folder}/a" "${folder}/b" --out "${folder}/compare")
  file(READ "${folder}/compare/tables/verdict.csv" verdicts)
  if(NOT verdicts MATCHES "pointnet: share of small weights")
    message(FATAL_ERROR "no verdict of the consumer's part in ${verdicts}")
  endif()
endfunction()

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

# The version file of the package under `prefix` accepts `asked`: ON or OFF.
function(check_version prefix asked expected)
  file(GLOB_RECURSE file "${prefix}/*/basinConfigVersion.cmake")
  set(PACKAGE_FIND_VERSION ${asked})
  string(REGEX MATCHALL "[0-9]+" parts "${asked}")
  list(GET parts 0 PACKAGE_FIND_VERSION_MAJOR)
  list(GET parts 1 PACKAGE_FIND_VERSION_MINOR)
  set(PACKAGE_VERSION_COMPATIBLE FALSE)
  include("${file}")
  if((PACKAGE_VERSION_COMPATIBLE AND NOT expected) OR (expected AND NOT PACKAGE_VERSION_COMPATIBLE))
    message(FATAL_ERROR "find_package(basin ${asked}) with ${PACKAGE_VERSION}: "
                        "${PACKAGE_VERSION_COMPATIBLE}, expected ${expected}")
  endif()
  file(STRINGS "${SOURCE}/CHANGELOG.md" entry REGEX "^## ${PACKAGE_VERSION}( |$)")
  if(NOT entry)
    message(FATAL_ERROR "CHANGELOG.md has no entry for version ${PACKAGE_VERSION}")
  endif()
endfunction()

# Build type and flags in a record are those of the configuration that was built.
if(WAY STREQUAL "multi_config")
  if(NOT GENERATOR MATCHES "Ninja")
    message("SKIPPED: ${GENERATOR} is not Ninja")
    return()
  endif()
  set(work "${BUILD}/consumers/multi_config")
  run(${CMAKE_COMMAND} --fresh -S "${SOURCE}/tests/consumers/multi_config" -B "${work}"
      -G "Ninja Multi-Config" -D "CMAKE_CXX_COMPILER=${CXX}" -D "CMAKE_CXX_FLAGS=-g0 ${CXX_FLAGS}"
      -D "CMAKE_CXX_FLAGS_DEBUG=-O0" -D "CMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG"
      -D "BASIN_SOURCE=${SOURCE}"
      -D "CMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}" -D CMAKE_UNITY_BUILD=ON)
  foreach(wanted "Debug: -g0 ${CXX_FLAGS} -O0" "Release: -g0 ${CXX_FLAGS} -O1 -DNDEBUG")
    string(REGEX REPLACE ":.*" "" type "${wanted}")
    run(${CMAKE_COMMAND} --build "${work}" --config ${type} --target consumer --parallel 2)
    execute_process(COMMAND "${work}/${type}/consumer" OUTPUT_VARIABLE said COMMAND_ERROR_IS_FATAL ANY)
    string(STRIP "${said}" said)
    string(REGEX REPLACE " +" " " wanted "${wanted}")
    string(REGEX REPLACE " +" " " said "${said}")
    if(NOT said STREQUAL wanted)
      message(FATAL_ERROR "the configuration ${type} says '${said}', expected '${wanted}'")
    endif()
  endforeach()
  return()
endif()

set(options -D CMAKE_BUILD_TYPE=Debug -D CMAKE_CXX_FLAGS_DEBUG=-O0)
if(WAY STREQUAL "find_package")
  run(${CMAKE_COMMAND} --install "${BUILD}" --prefix "${work}/first")
  file(RENAME "${work}/first" "${work}/moved")
  list(APPEND options -D "CMAKE_PREFIX_PATH=${work}/moved")
  file(GLOB_RECURSE texts "${work}/moved/*.cmake")
  foreach(text IN LISTS texts)
    file(READ "${text}" content)
    string(REGEX MATCH "[\";]/[A-Za-z0-9_][^\";\n]*" found "${content}")
    if(found)
      message(FATAL_ERROR "${text} has the absolute path ${found}: the package is not relocatable")
    endif()
    string(FIND "${content}" "${work}" place)
    if(NOT place EQUAL -1)
      message(FATAL_ERROR "${text} names ${work}: the package is not relocatable")
    endif()
  endforeach()
  check_version("${work}/moved" 0.1 ON)
  check_version("${work}/moved" 0.0 OFF)
  check_version("${work}/moved" 0.2 OFF)
  check_version("${work}/moved" 1.0 OFF)
else()
  # Everything in one, as far as it goes: Basin's own groups are its own.
  list(APPEND options -D "BASIN_SOURCE=${SOURCE}" -D CMAKE_UNITY_BUILD=ON
       -D CMAKE_UNITY_BUILD_BATCH_SIZE=0)
endif()
if(LAUNCHER)
  list(APPEND options -D "CMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}")
endif()

run(${CMAKE_COMMAND} --fresh -S "${SOURCE}/tests/consumers/${WAY}" -B "${work}/build"
    -G "${GENERATOR}" -D "CMAKE_CXX_COMPILER=${CXX}" -D "CMAKE_CXX_FLAGS=${CXX_FLAGS}" ${options})
if(WAY STREQUAL "find_package")
  run(${CMAKE_COMMAND} --build "${work}/build" --parallel 2)
  # Internal headers stay at home: a program that wants one does not compile, and says which.
  file(GLOB_RECURSE internal "${work}/moved/include/*/detail/*")
  if(internal)
    message(FATAL_ERROR "internal headers are installed: ${internal}")
  endif()
  execute_process(COMMAND ${CMAKE_COMMAND} --build "${work}/build" --target internal_header
                  RESULT_VARIABLE code OUTPUT_VARIABLE text ERROR_VARIABLE text)
  if(code EQUAL 0 OR NOT text MATCHES "analysis/detail/krylov\\.h:? *'?(: )?(No such file|file not found)")
    message(FATAL_ERROR "a consumer of an internal header: expected no such file, got ${code}: ${text}")
  endif()
  run("${work}/build/own_optimizer" "${work}/weights.safetensors")
  run("${work}/build/own_loss")
  run("${work}/build/probe_file" "${work}/weights.safetensors")
  check_own_part("${work}/build/own_part" "${work}/weights.safetensors" "${work}/probes")
else()
  run(${CMAKE_COMMAND} --build "${work}/build" --target consumer --parallel 2)
endif()
run("${work}/build/consumer")
