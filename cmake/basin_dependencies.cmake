# What the libraries link, found once here for the build and once more, through basinConfig.cmake,
# for a project that uses an installed Basin. Imported targets are global so that a parent project
# that added Basin as a subdirectory can link them too.

# OpenBLAS: CBLAS, LAPACK's Fortran symbols and openblas_set_num_threads in one library. Debian
# keeps the header beside the library flavour.
function(basin_have_blas result)
  find_path(BASIN_CBLAS_INCLUDE_DIR cblas.h PATH_SUFFIXES openblas-pthread openblas)
  find_library(BASIN_OPENBLAS_LIBRARY openblas PATH_SUFFIXES openblas-pthread)
  mark_as_advanced(BASIN_CBLAS_INCLUDE_DIR BASIN_OPENBLAS_LIBRARY)
  if(BASIN_CBLAS_INCLUDE_DIR AND BASIN_OPENBLAS_LIBRARY)
    set(${result} ON PARENT_SCOPE)
  else()
    set(${result} OFF PARENT_SCOPE)
  endif()
endfunction()

function(basin_find_blas)
  if(TARGET basin_deps::blas)
    return()
  endif()
  basin_have_blas(found)
  if(NOT found)
    message(FATAL_ERROR "Basin: OpenBLAS was not found (Debian: libopenblas-dev); "
                        "BASIN_CBLAS_INCLUDE_DIR and BASIN_OPENBLAS_LIBRARY name it by hand")
  endif()
  add_library(basin_deps::blas INTERFACE IMPORTED GLOBAL)
  target_include_directories(basin_deps::blas SYSTEM INTERFACE ${BASIN_CBLAS_INCLUDE_DIR})
  target_link_libraries(basin_deps::blas INTERFACE ${BASIN_OPENBLAS_LIBRARY})
endfunction()

# The C library of HDF5. CMake's own module runs compiler wrappers and wants the language C enabled.
function(basin_have_hdf5 result)
  find_path(BASIN_HDF5_INCLUDE_DIR hdf5.h PATH_SUFFIXES hdf5/serial)
  find_library(BASIN_HDF5_LIBRARY NAMES hdf5 hdf5_serial PATH_SUFFIXES hdf5/serial)
  mark_as_advanced(BASIN_HDF5_INCLUDE_DIR BASIN_HDF5_LIBRARY)
  if(BASIN_HDF5_INCLUDE_DIR AND BASIN_HDF5_LIBRARY)
    set(${result} ON PARENT_SCOPE)
  else()
    set(${result} OFF PARENT_SCOPE)
  endif()
endfunction()

function(basin_find_hdf5)
  if(TARGET basin_deps::hdf5)
    return()
  endif()
  basin_have_hdf5(found)
  if(NOT found)
    message(FATAL_ERROR "Basin: HDF5 was asked for and not found (Debian: libhdf5-dev)")
  endif()
  add_library(basin_deps::hdf5 INTERFACE IMPORTED GLOBAL)
  target_include_directories(basin_deps::hdf5 SYSTEM INTERFACE ${BASIN_HDF5_INCLUDE_DIR})
  target_link_libraries(basin_deps::hdf5 INTERFACE ${BASIN_HDF5_LIBRARY})
endfunction()

# stb_image_write.h: needed to build, not to link (no installed file mentions it).
function(basin_find_stb)
  find_path(BASIN_STB_INCLUDE_DIR stb_image_write.h PATH_SUFFIXES stb)
  mark_as_advanced(BASIN_STB_INCLUDE_DIR)
  if(NOT BASIN_STB_INCLUDE_DIR)
    message(FATAL_ERROR "Basin: stb_image_write.h was not found (Debian: libstb-dev); "
                        "BASIN_STB_INCLUDE_DIR names its folder by hand")
  endif()
endfunction()

macro(basin_find_dependencies with_hdf5 with_cuda)
  find_package(Threads REQUIRED GLOBAL)
  find_package(ZLIB REQUIRED GLOBAL)
  basin_find_blas()
  if(${with_hdf5})
    basin_find_hdf5()
  endif()
  if(${with_cuda})
    find_package(CUDAToolkit REQUIRED GLOBAL)
  endif()
endmacro()
