// Meters against counts by hand, and one that is saved in the middle of an epoch.
#include "basin/train/meters.h"

#include <cmath>

#include "basin/tests/train/problems.h"

namespace basin::test {
namespace {

Tensor some_logits() {
  return Tensor::from<float>({2, 1, 0,  //
                              1, 1, 1,  // a tie: the first class wins
                              0, 3, 0,  //
                              1, 0, 0},
                             {4, 3});
}

// Class 0: two of three right, class 1: none of one; class 2 does not occur.
Tensor some_labels() { return Tensor::from<int64_t>({0, 0, 0, 1}, {4}); }

Batch labelled(const Tensor& labels) {
  return {{Tensor::zeros({labels.numel(), 2}, DType::f32), labels}, labels.numel(), {}};
}

Batch targets(const std::vector<double>& values) {
  const auto n = static_cast<int64_t>(values.size());
  return {{Tensor::zeros({n, 2}, DType::f32), Tensor::from(values, {n, 1})}, n, {}};
}

}  // namespace

TEST_CASE("tally: overall and mean class accuracy, loss, ties") {
  const Tensor logits = some_logits();
  Tally tally(3);
  tally.add(logits, some_labels());
  CHECK(tally.correct() == 2);
  CHECK(tally.total() == 4);
  CHECK(tally.overall_accuracy() == 0.5);
  CHECK(tally.mean_class_accuracy() == doctest::Approx((2.0 / 3 + 0) / 2).epsilon(1e-15));
  REQUIRE(tally.recall().size() == 3);
  CHECK(tally.recall()[0] == doctest::Approx(2.0 / 3).epsilon(1e-15));
  CHECK(tally.recall()[1] == 0);
  CHECK(std::isnan(tally.recall()[2]));
  const double loss = (std::log(1 + std::exp(-1) + std::exp(-2)) + std::log(3.0) +
                       std::log(2 + std::exp(3)) + std::log(std::exp(1) + 2)) /
                      4;
  CHECK(tally.loss() == doctest::Approx(loss).epsilon(1e-15));
}

TEST_CASE("tally: a row that holds no number is wrong, whatever its label") {
  const double nan = std::nan("");
  Tally tally(3);
  tally.add(Tensor::from<double>({nan, nan, nan, 3, nan, 1, nan, 0, 0, 0, 5, 0}, {4, 3}),
            Tensor::from<int64_t>({0, 0, 1, 1}, {4}));
  CHECK(tally.correct() == 1);
  CHECK(tally.recall()[0] == 0);
  CHECK(tally.recall()[1] == 0.5);
  CHECK(std::isnan(tally.loss()));
}

TEST_CASE("meter: classification gives the numbers of a tally, in any batches") {
  const Tensor logits = some_logits();
  Tally tally(3);
  tally.add(logits, some_labels());
  const auto meter = classification_meter(3);
  // Two batches: the first three shapes, then the last.
  meter->add(labelled(Tensor::from<int64_t>({0, 0, 0}, {3})), {slice(logits, 0, 0, 3)});
  meter->add(labelled(Tensor::from<int64_t>({1}, {1})), {slice(logits, 0, 3, 4)});
  CHECK(meter->result() ==
        std::vector<double>{tally.overall_accuracy(), tally.mean_class_accuracy(), tally.loss()});
  std::vector<std::string> names;
  for (const Metric& m : classification_metrics()) names.push_back(m.name);
  CHECK(names == std::vector<std::string>{"overall_accuracy", "mean_class_accuracy", "loss"});
  CHECK(classification_metrics()[0].larger_is_better);
  CHECK_FALSE(classification_metrics()[2].larger_is_better);
}

TEST_CASE("meter: accuracy of the training steps, saved and taken up again") {
  const auto whole = accuracy_meter(3), first = accuracy_meter(3);
  whole->add(labelled(some_labels()), {some_logits()});
  first->add(labelled(some_labels()), {some_logits()});
  CHECK(whole->result() == std::vector<double>{0.5});
  const auto second = accuracy_meter(3);
  const std::string line = Record().add("other", 1).line();
  Record kept;
  const RecordFields saved = parse_record(first->save().line(), "meter");
  for (const auto& [key, value] : saved.values()) {
    kept.add("since_" + key, std::string_view(value));
  }
  second->load(parse_record(kept.line(), "state"), "since_");
  const Batch three = labelled(Tensor::from<int64_t>({0, 1, 2}, {3}));
  const Tensor right = Tensor::from<float>({1, 0, 0, 0, 1, 0, 0, 0, 1}, {3, 3});
  whole->add(three, {right});
  second->add(three, {right});
  CHECK(second->result() == whole->result());
  CHECK(whole->result() == std::vector<double>{5.0 / 7});
  // A key that is missing is a fault of the file.
  CHECK(error_of([&] { second->load(parse_record(line, "state.json"), "since_"); }).first ==
        ErrorKind::data);
}

TEST_CASE("meter: regression against sums by hand, saved and taken up again") {
  const auto whole = regression_meter(), first = regression_meter(), second = regression_meter();
  const auto predictions = [](const std::vector<double>& values) {
    return Tensors{Tensor::from(values, {static_cast<int64_t>(values.size()), 1})};
  };
  for (Meter* m : {whole.get(), first.get()})
    m->add(targets({1, 2, -1}), predictions({1.5, 0, -1}));
  CHECK(first->result()[0] == doctest::Approx(2.5 / 3).epsilon(1e-15));
  CHECK(first->result()[1] == doctest::Approx(std::sqrt(4.25 / 3)).epsilon(1e-15));
  Record kept;
  const RecordFields saved = parse_record(first->save().line(), "meter");
  for (const auto& [key, value] : saved.values()) {
    kept.add("since_meter_" + key, std::string_view(value));
  }
  second->load(parse_record(kept.line(), "state"), "since_meter_");
  for (Meter* m : {whole.get(), second.get()}) m->add(targets({0.1}), predictions({0.7}));
  CHECK(second->result() == whole->result());  // to the bit
  CHECK(whole->result()[0] == doctest::Approx((2.5 + 0.6) / 4).epsilon(1e-15));
  const auto error = error_of([&] { whole->add(targets({1, 2}), predictions({1})); });
  CHECK(error.first == ErrorKind::usage);
  CHECK(contains(error.second, "1 predictions for 2 targets"));
  CHECK(std::isnan(regression_meter()->result()[0]));  // of nothing
  CHECK(regression_metrics("eV")[0].unit == "eV");
}

TEST_CASE("metric text: in its unit") {
  CHECK(metric_text({"accuracy", "%", true}, 0.8125) == "81.25 %");
  CHECK(metric_text({"mae", "meV"}, 12.34) == "12.34 meV");
  CHECK(metric_text({"loss"}, 0.04512) == "0.04512");
}

}  // namespace basin::test
