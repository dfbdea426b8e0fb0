// study: the whole protocol of a comparison of optimizers as one resumable program.
#include "basin/tools/study/study_main.h"

int main(int argc, char** argv) { return basin::tools::study_main(argc, argv); }
