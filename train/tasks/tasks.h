// The tasks that come with Basin. A program registers them before it looks one up; nothing in
// train/ itself knows them.
#pragma once

namespace basin {

void register_point_clouds();  // "modelnet"
void register_molecules();     // "molecules"
void register_qm9();           // "qm9"
void register_graphs();        // "graph"
void register_burgers();       // "burgers"
void register_planted();       // "linear_regression", "matrix_factorisation"
void register_operators();     // "antiderivative", "advection", "burgers_operator", "heat_operator"
void register_fractional();    // "fractional", "fractional_operator"
void register_fractional_ball();  // "fractional_ball"
void register_builtin_tasks();    // all of them; more than one call is harmless

}  // namespace basin
