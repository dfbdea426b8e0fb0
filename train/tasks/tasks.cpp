// The list of tasks.
#include "basin/train/tasks/tasks.h"

namespace basin {

void register_builtin_tasks() {
  static const bool done = [] {
    register_point_clouds();
    register_molecules();
    register_qm9();
    register_graphs();
    register_burgers();
    register_planted();
    register_operators();
    register_fractional();
    register_fractional_ball();
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace basin
