// The ways to read an objective as one function. The sums are made in the order of the terms, so
// that a loss of one term is that term itself, to the bit.
#include "basin/nn/objective.h"

#include "basin/autograd/ops.h"

namespace basin {
namespace {

Tensor sum_of(const Tensors& terms) {
  check(!terms.empty(), "objective: expects at least one term of the loss, got none");
  Tensor sum = terms.front();
  for (size_t i = 1; i < terms.size(); ++i) sum = sum + terms[i];
  return sum;
}

Tensors first_outputs(const Objective& objective, const Tensors& all) {
  check(all.size() >= objective.n_outputs + (objective.penalty ? 1 : 0),
        "objective: the forward pass gave ", all.size(), " tensors, expected ", objective.n_outputs,
        " outputs", objective.penalty ? " and a penalty" : "");
  return {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(objective.n_outputs)};
}

}  // namespace

Fn training_loss(const Objective& objective) {
  return [objective](const Tensors& params) {
    Tensors all = objective.outputs(params);
    Tensors outputs = first_outputs(objective, all);
    const Tensors terms = objective.terms(outputs);
    Tensor loss = sum_of(terms);
    auto rest = all.begin() + static_cast<std::ptrdiff_t>(objective.n_outputs);
    if (objective.penalty) loss = loss + *rest++;
    Tensors out{std::move(loss)};
    if (terms.size() > 1) out.insert(out.end(), terms.begin(), terms.end());
    out.insert(out.end(), outputs.begin(), outputs.end());
    out.insert(out.end(), rest, all.end());
    return out;
  };
}

LossParts parts_of(const Objective& objective, const Tensors& aux) {
  const size_t terms = objective.term_names.size() > 1 ? objective.term_names.size() : 0;
  check(aux.size() >= terms + objective.n_outputs, "objective: expects the ",
        terms + objective.n_outputs, " or more further outputs of training_loss, got ", aux.size());
  const auto outputs = aux.begin() + static_cast<std::ptrdiff_t>(terms);
  const auto rest = outputs + static_cast<std::ptrdiff_t>(objective.n_outputs);
  return {{aux.begin(), outputs}, {outputs, rest}, {rest, aux.end()}};
}

Fn outputs_only(const Objective& objective) {
  return [objective](const Tensors& params) {
    return first_outputs(objective, objective.outputs(params));
  };
}

Fn loss_of_outputs(const Objective& objective) {
  return
      [terms = objective.terms](const Tensors& outputs) { return Tensors{sum_of(terms(outputs))}; };
}

Fn data_loss(const Objective& objective) {
  return [outputs = outputs_only(objective), loss = loss_of_outputs(objective)](
             const Tensors& params) { return loss(outputs(params)); };
}

}  // namespace basin
