// Which molecules make a batch, and their tensors.
#include <algorithm>
#include <numeric>

#include "basin/core/random.h"
#include "basin/train/tasks/detail/molecule_batches.h"

namespace basin {

std::vector<Slot> labelled_molecule_slots() {
  return {
      {"positions", Rows::node, SlotKind::coordinates}, {"z", Rows::node, SlotKind::feature},
      {"molecule", Rows::node, SlotKind::owner},        {"atoms", Rows::example, SlotKind::feature},
      {"target", Rows::example, SlotKind::target},      {"value", Rows::example, SlotKind::target}};
}

MoleculeBatches::MoleculeBatches(std::shared_ptr<const Qm9Set> set, std::string hash,
                                 const Qm9Target* target, TargetScale scale, int64_t bucket,
                                 const SourceRequest& request)
    : set_(std::move(set)),
      hash_(std::move(hash)),
      scale_(std::move(scale)),
      bucket_(bucket),
      request_(request),
      slots_(labelled_molecule_slots()),
      rows_(drawn_rows(set_->size(), request.limit, request.seed)) {
  if (target != nullptr) {
    values_ = target_values(*set_, *target);
  } else {
    slots_.resize(slots_.size() - 2);
  }
  const int64_t n = examples();
  batches_ = request.training ? std::max(n / request.batch, std::min<int64_t>(n, 1))
                              : (n + request.batch - 1) / request.batch;
}

void MoleculeBatches::sort_by_size(std::span<int64_t> rows) const {
  std::stable_sort(rows.begin(), rows.end(),
                   [&](int64_t a, int64_t b) { return set_->atoms(a) < set_->atoms(b); });
}

MoleculeBatches::Plan MoleculeBatches::make_plan(int64_t epoch) const {
  std::vector<int64_t> order = rows_;
  Rng rng(request_.seed, stream_id("molecule order", static_cast<uint64_t>(epoch)));
  size_t group = order.size();
  if (request_.training) {
    rng.shuffle(std::span(order));
    order.resize(std::min(order.size(), static_cast<size_t>(batches_ * request_.batch)));
    group = static_cast<size_t>(bucket_ * request_.batch);
  }
  if (!values_.empty()) {
    for (size_t begin = 0; begin < order.size(); begin += group) {
      sort_by_size(std::span(order).subspan(begin, std::min(group, order.size() - begin)));
    }
  }
  Plan out;
  const auto each = static_cast<size_t>(request_.batch);
  for (size_t begin = 0; begin < order.size(); begin += each) {
    const size_t end = std::min(begin + each, order.size());
    out.emplace_back(order.begin() + static_cast<std::ptrdiff_t>(begin),
                     order.begin() + static_cast<std::ptrdiff_t>(end));
  }
  if (request_.training) rng.shuffle(std::span(out));
  return out;
}

std::shared_ptr<const MoleculeBatches::Plan> MoleculeBatches::plan(int64_t epoch) const {
  const std::lock_guard lock(mutex_);
  if (planned_epoch_ != epoch) {
    planned_ = std::make_shared<const Plan>(make_plan(epoch));
    planned_epoch_ = epoch;
  }
  return planned_;
}

Batch MoleculeBatches::batch(int64_t epoch, int64_t index) const {
  check(epoch >= 0 && index >= 0 && index < batches_, "qm9: expected a batch from 0 to ",
        batches_ - 1, ", got ", index, " of epoch ", epoch);
  const std::shared_ptr<const Plan> plan = this->plan(request_.training ? epoch : 0);
  const std::vector<int64_t>& rows = (*plan)[static_cast<size_t>(index)];
  std::vector<double> positions, target, value;
  std::vector<int64_t> z, owner, atoms;
  for (const int64_t row : rows) {
    const auto begin = static_cast<std::ptrdiff_t>(set_->offsets[static_cast<size_t>(row)]);
    const auto end = begin + static_cast<std::ptrdiff_t>(set_->atoms(row));
    owner.insert(owner.end(), static_cast<size_t>(end - begin), static_cast<int64_t>(atoms.size()));
    atoms.push_back(end - begin);
    z.insert(z.end(), set_->z.begin() + begin, set_->z.begin() + end);
    positions.insert(positions.end(), set_->positions.begin() + 3 * begin,
                     set_->positions.begin() + 3 * end);
    if (values_.empty()) continue;
    const double reference = reference_sum(
        scale_.references,
        std::span(set_->z).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
    value.push_back(values_[static_cast<size_t>(row)]);
    target.push_back((value.back() - reference - scale_.mean) / scale_.spread);
  }
  const auto a = static_cast<int64_t>(z.size()), b = static_cast<int64_t>(rows.size());
  Batch out{{Tensor::from(positions, {a, 3}), Tensor::from(z, {a}), Tensor::from(owner, {a}),
             Tensor::from(atoms, {b})},
            b,
            rows};
  if (!values_.empty()) {
    out.tensors.push_back(Tensor::from(target, {b, 1}));
    out.tensors.push_back(Tensor::from(value, {b, 1}));
  }
  return out;
}

std::string MoleculeBatches::description() const {
  return str(rows_.size(), " of ", set_->size(), " ", name_of(request_.split), " molecules",
             examples() < set_->size() ? str(" (seed ", request_.seed, ")") : "");
}

}  // namespace basin
