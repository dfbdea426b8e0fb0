// The gradients of the terms of a loss one by one, and how they lie to each other. Where two of
// them point against each other, a step that lowers one term raises the other; where one is much
// longer, it decides the step (of physics-informed losses: Wang, Teng, Perdikaris 2021).
#pragma once
#include <string>
#include <vector>

#include "basin/train/probe_data.h"

namespace basin {

struct TermGradients {
  std::vector<std::string> names;  // of the terms; empty: the loss has one term alone
  Tensor gradients;                // [terms, n] f64, the parameters in their order

  double norm(size_t i) const;
  double cosine(size_t i, size_t j) const;  // NaN where a gradient is zero
  // 2 |mean over the terms of g / |g||^2 - 1: 1 where all point one way, for two terms their cosine
  // (Wang, Bhartari, Li, Perdikaris 2025). NaN where a gradient is zero.
  double alignment() const;
};

// Of the mean over the data, with frozen batch norm statistics and the weights of the terms; their
// sum is the gradient of the loss. A batch is recorded once, with a backward sweep per term.
TermGradients term_gradients(const Task& task, const ModelState& state, const ProbeData& data);

}  // namespace basin
