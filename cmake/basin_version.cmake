# Writes OUTPUT, the definition of basin::version_info(), from the state of the checkout in SOURCE.
# Runs at every build; the file keeps its time stamp while its text stays the same.
set(GIT_HASH "unknown")
set(GIT_DIRTY "false")
find_program(GIT git)
if(GIT AND EXISTS "${SOURCE}/.git")
  execute_process(COMMAND ${GIT} -C ${SOURCE} rev-parse HEAD OUTPUT_VARIABLE hash ERROR_QUIET
                  RESULT_VARIABLE failed OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT failed)
    set(GIT_HASH "${hash}")
    execute_process(COMMAND ${GIT} -C ${SOURCE} status --porcelain --untracked-files=no
                    OUTPUT_VARIABLE changes ERROR_QUIET)
    if(changes)
      set(GIT_DIRTY "true")
    endif()
  endif()
endif()
configure_file("${SOURCE}/cmake/version.cpp.in" "${OUTPUT}" @ONLY)
