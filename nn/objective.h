// Objective: what one batch asks of the parameters. One value serves training, probes and
// evaluation:
//   outputs  params -> {outputs, [penalty], batch statistics}: the forward pass
//   terms    {outputs} -> weighted scalars: the parts of the data loss, which is their sum
//   data loss     = sum of terms                 what probes and Gauss-Newton matrices look at
//   training loss = data loss + penalty          what a step descends
#pragma once
#include <string>
#include <vector>

#include "basin/autograd/transform.h"

namespace basin {

struct Objective {
  Fn outputs;  // params -> n_outputs tensors, then [] penalty, then batch statistics
  size_t n_outputs = 1;
  bool penalty = false;                 // whether `outputs` gives one
  Fn terms;                             // the n_outputs -> one weighted [] per name
  std::vector<std::string> term_names;  // "ce"; "residual", "boundary", "initial"
  int64_t examples = 0;                 // in the batch, of which the terms are means
};

// params -> {training loss, terms (only where there are several), outputs, batch statistics}: the
// form value_and_grad takes.
Fn training_loss(const Objective& objective);

// The outputs of training_loss but the first, told apart. usage error when there are too few.
struct LossParts {
  Tensors terms;  // empty for a single term, which is the data loss
  Tensors outputs;
  Tensors batch_statistics;
};
LossParts parts_of(const Objective& objective, const Tensors& aux);

// params -> {data loss}
Fn data_loss(const Objective& objective);
// {outputs} -> {data loss}: the second half of data_loss, for Gauss-Newton products.
Fn loss_of_outputs(const Objective& objective);
// params -> {outputs}: the first half.
Fn outputs_only(const Objective& objective);

}  // namespace basin
