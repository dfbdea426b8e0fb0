// Descriptors 0, 1 and 2 of a program. A shell or a supervisor may start it with some of them closed;
// the next file that the program opens then gets that number, and what is meant for the terminal
// lands in the file.
#pragma once

namespace basin {

// Opens /dev/null for each of the three that is closed. To be called at the start of main, before
// any file is opened; run_program() does it. resource error where there is no /dev/null.
void hold_standard_streams();

}  // namespace basin
