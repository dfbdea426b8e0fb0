// study status: how far a study is, from its folder alone; it may be asked while programs work.
#pragma once
#include "basin/tools/study/schedule.h"

namespace basin::tools {

// Jobs by stage (done, running, left, failed), the running ones with their host and how long their
// claim has been silent, and the time that is left at the present pace.
std::string status_text(const Study& study, const Schedule& schedule, Ledger& ledger);

}  // namespace basin::tools
