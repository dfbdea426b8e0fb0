// landscape_probe: where in the landscape an optimizer ended, and how spread its spectra are.
#include "basin/tools/landscape_probe/probe_main.h"

int main(int argc, char** argv) { return basin::tools::probe_main(argc, argv); }
