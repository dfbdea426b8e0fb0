// Must not compile: a header below detail/ is Basin's own and is not installed. The public one is
// there, so that nothing else can be what fails.
#include <basin/analysis/detail/krylov.h>
#include <basin/analysis/lanczos.h>

int main() { return 0; }
