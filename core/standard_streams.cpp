// open() gives the lowest free number: asked for in rising order, each gets its own.
#include "basin/core/standard_streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "basin/core/error.h"

namespace basin {

void hold_standard_streams() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
    if (::open("/dev/null", O_RDWR) < 0) {
      fail(ErrorKind::resource, "/dev/null: cannot be opened in place of the closed descriptor ",
           fd, ": ", error_text(errno));
    }
  }
}

}  // namespace basin
