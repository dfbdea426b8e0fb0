// Meters of several targets per example, of which some may not be known.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "basin/train/meters.h"

namespace basin {
namespace {

// Calls f(value, target, index) for every known one.
template <class F>
void for_known(const Batch& batch, const Tensors& predictions, const F& f) {
  check(batch.tensors.size() >= 2, "masked meter: expects target and known, got ",
        batch.tensors.size(), " tensors");
  const std::vector<double> given = predictions.front().to_vector<double>();
  const std::vector<double> wanted = (batch.tensors.end() - 2)->to_vector<double>();
  const std::vector<double> known = batch.tensors.back().to_vector<double>();
  check(given.size() == wanted.size() && given.size() == known.size(),
        "masked meter: ", given.size(), " predictions for ", wanted.size(), " targets");
  for (size_t i = 0; i < given.size(); ++i) {
    if (known[i] != 0) f(given[i], wanted[i], i);
  }
}

// Scores as text of 16 hexadecimal digits each: they come back bit for bit.
std::string hex_of(const std::vector<double>& values) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const double v : values) {
    uint64_t bits = 0;
    std::memcpy(&bits, &v, sizeof bits);
    for (int shift = 60; shift >= 0; shift -= 4) out += kDigits[bits >> shift & 15];
  }
  return out;
}

std::vector<double> from_hex(const std::string& text, const std::string& key) {
  const auto fault = [&] { fail(ErrorKind::data, key, ": expected numbers of 16 hex digits"); };
  if (text.size() % 16 != 0) fault();
  std::vector<double> out;
  for (size_t begin = 0; begin < text.size(); begin += 16) {
    uint64_t bits = 0;
    for (size_t i = begin; i < begin + 16; ++i) {
      const char c = text[i];
      const bool digit = c >= '0' && c <= '9', letter = c >= 'a' && c <= 'f';
      if (!digit && !letter) fault();
      bits = bits << 4 | static_cast<uint64_t>(digit ? c - '0' : c - 'a' + 10);
    }
    double v = 0;
    std::memcpy(&v, &bits, sizeof v);
    out.push_back(v);
  }
  return out;
}

class MultiLabelMeter : public Meter {
 public:
  explicit MultiLabelMeter(int64_t classes)
      : scores_(static_cast<size_t>(classes)), labels_(static_cast<size_t>(classes)) {}

  void add(const Batch& batch, const Tensors& predictions) override {
    for_known(batch, predictions, [&](double logit, double label, size_t i) {
      scores_[i % scores_.size()].push_back(logit);
      labels_[i % scores_.size()].push_back(label != 0);
      // softplus(x) - x t without overflow
      loss_ += std::max(logit, 0.0) - logit * label + std::log1p(std::exp(-std::abs(logit)));
      ++count_;
    });
  }
  std::vector<double> result() const override {
    double sum = 0;
    int64_t classes = 0;
    for (size_t c = 0; c < scores_.size(); ++c) {
      const double ap = average_precision(scores_[c], labels_[c]);
      if (std::isnan(ap)) continue;
      sum += ap;
      ++classes;
    }
    return {classes > 0 ? sum / static_cast<double>(classes) : NAN,
            loss_ / static_cast<double>(count_)};
  }
  Record save() const override {
    Record out;
    out.add("loss", loss_).add("count", count_);
    for (size_t c = 0; c < scores_.size(); ++c) {
      std::string labels;
      for (const bool label : labels_[c]) labels += label ? '1' : '0';
      out.add(str("scores_", c), hex_of(scores_[c])).add(str("labels_", c), labels);
    }
    return out;
  }
  void load(const RecordFields& in, const std::string& prefix) override {
    loss_ = in.number(prefix + "loss");
    count_ = in.integer(prefix + "count");
    for (size_t c = 0; c < scores_.size(); ++c) {
      const std::string key = str(prefix, "labels_", c);
      scores_[c] = from_hex(in.text(str(prefix, "scores_", c)), str(prefix, "scores_", c));
      labels_[c].clear();
      for (const char label : in.text(key)) labels_[c].push_back(label == '1');
      if (labels_[c].size() != scores_[c].size()) {
        fail(ErrorKind::data, key, ": expected ", scores_[c].size(), " labels, got ",
             labels_[c].size());
      }
    }
  }

 private:
  std::vector<std::vector<double>> scores_;  // per class
  std::vector<std::vector<bool>> labels_;
  double loss_ = 0;
  int64_t count_ = 0;
};

class MaskedErrorMeter : public Meter {
 public:
  void add(const Batch& batch, const Tensors& predictions) override {
    for_known(batch, predictions, [&](double given, double wanted, size_t) {
      absolute_ += std::abs(given - wanted);
      ++count_;
    });
  }
  std::vector<double> result() const override { return {absolute_ / static_cast<double>(count_)}; }
  Record save() const override { return Record().add("absolute", absolute_).add("count", count_); }
  void load(const RecordFields& in, const std::string& prefix) override {
    absolute_ = in.number(prefix + "absolute");
    count_ = in.integer(prefix + "count");
  }

 private:
  double absolute_ = 0;
  int64_t count_ = 0;
};

}  // namespace

double average_precision(const std::vector<double>& scores, const std::vector<bool>& labels) {
  check(scores.size() == labels.size(), "average_precision: ", scores.size(), " scores for ",
        labels.size(), " labels");
  const auto positives = std::count(labels.begin(), labels.end(), true);
  if (positives == 0 || positives == static_cast<int64_t>(labels.size())) return NAN;
  // A NaN has no place in an order: neither has what is made of it.
  if (std::any_of(scores.begin(), scores.end(), [](double s) { return std::isnan(s); })) return NAN;
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  double ap = 0;
  int64_t hits = 0;
  for (size_t i = 0; i < order.size();) {
    const double score = scores[order[i]];
    const int64_t before = hits;
    for (; i < order.size() && scores[order[i]] == score; ++i) hits += labels[order[i]] ? 1 : 0;
    ap += static_cast<double>(hits - before) / static_cast<double>(positives) *
          static_cast<double>(hits) / static_cast<double>(i);
  }
  return ap;
}

std::vector<Metric> multi_label_metrics() { return {{"ap", "", true}, {"loss"}}; }

std::unique_ptr<Meter> multi_label_meter(int64_t classes) {
  return std::make_unique<MultiLabelMeter>(classes);
}

std::vector<Metric> masked_error_metrics() { return {{"mae", ""}}; }

std::unique_ptr<Meter> masked_error_meter() { return std::make_unique<MaskedErrorMeter>(); }

}  // namespace basin
