// The program `study`; its own registered tasks, models and optimizers live in the training
// programs that it runs.
#pragma once

namespace basin::tools {

int study_main(int argc, const char* const* argv);

}  // namespace basin::tools
