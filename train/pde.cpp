// The task of a physics-informed problem.
#include "basin/train/pde.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "basin/autograd/ops.h"
#include "basin/core/io.h"
#include "basin/core/lines.h"
#include "basin/train/meters.h"
#include "basin/train/microbatch.h"

namespace basin {
namespace {

using ProblemPtr = std::shared_ptr<const PdeProblem>;

int64_t dimensions(const PdeProblem& p) { return static_cast<int64_t>(p.coordinates.size()); }

void check_problem(const PdeProblem& p) {
  const int64_t d = dimensions(p);
  check(
      d > 0 && !p.terms.empty() && p.outputs > 0 && p.resample >= 0,
      "pde: a problem has coordinates, outputs and terms, and is resampled after 0 or more steps");
  for (const PdeTerm& t : p.terms) {
    check(!t.name.empty() && t.points && t.residual && std::ssize(t.orders) == d, "pde: term '",
          t.name, "' needs a name, points, a residual and an order for each of ", d,
          " coordinates");
  }
  check(p.test_points.rank() == 2 && p.test_points.size(1) == d &&
            p.test_points.dtype() == DType::f64,
        "pde: expects test points [Q, ", d, "] f64, got ", p.test_points);
  check(p.truth.shape() == Shape{p.test_points.size(0), p.outputs} && p.truth.dtype() == DType::f64,
        "pde: expects the truth [", p.test_points.size(0), ", ", p.outputs, "] f64, got ", p.truth);
  check(p.grid_first.empty() || (d == 2 && std::ssize(p.grid_first) * std::ssize(p.grid_second) ==
                                               p.test_points.size(0)),
        "pde: the grid does not have the test points");
}

std::vector<Slot> slots_of(const PdeProblem& p) {
  std::vector<Slot> out{{"points", Rows::example, SlotKind::feature}};
  for (size_t t = 1; t < p.terms.size(); ++t) {
    out.push_back({p.terms[t].name + "_points", Rows::example, SlotKind::target});
  }
  out.push_back({"truth", Rows::example, SlotKind::target});
  return out;
}

std::string hash_of(const PdeProblem& p, uint64_t seed) {
  Tensors all{p.test_points, p.truth};
  for (const PdeTerm& t : p.terms) all.push_back(t.points(seed, 0));
  return content_hash_of(all);
}

// All points of a split in one batch. A limited request takes the first points of every term, or of
// the test set.
class PdeSource : public Source {
 public:
  PdeSource(ProblemPtr problem, const SourceRequest& request, uint64_t seed, std::string hash)
      : problem_(std::move(problem)),
        request_(request),
        seed_(seed),
        hash_(std::move(hash)),
        slots_(slots_of(*problem_)) {
    check(request.split != Split::validation, "pde: there is no validation split");
    const Batch first = batch(0, 0);
    examples_ = first.examples;
  }
  const std::vector<Slot>& slots() const override { return slots_; }
  int64_t examples() const override { return examples_; }
  int64_t batches() const override { return 1; }
  Batch batch(int64_t epoch, int64_t index) const override;
  std::string description() const override {
    return str(examples_, " ", name_of(request_.split), " points");
  }
  std::string content_hash() const override { return hash_; }

 private:
  Tensor limited(const Tensor& points) const {
    if (request_.limit <= 0 || request_.limit >= points.size(0)) return points;
    return slice(points, 0, 0, request_.limit);
  }
  Tensors points_of(int64_t draw) const;  // per term

  ProblemPtr problem_;
  SourceRequest request_;
  uint64_t seed_;
  std::string hash_;
  std::vector<Slot> slots_;
  int64_t examples_ = 0;
  // The last draw is kept: most steps ask for the one of the step before, or all for one.
  mutable std::mutex mutex_;
  mutable int64_t drawn_ = -1;
  mutable Tensors points_;
};

Tensors PdeSource::points_of(int64_t draw) const {
  const std::lock_guard lock(mutex_);
  if (draw != drawn_) {
    Tensors made;
    for (const PdeTerm& t : problem_->terms) {
      const Tensor points = t.points(seed_, draw);
      made.push_back(t.whole ? points : limited(points));
    }
    points_ = std::move(made);
    drawn_ = draw;
  }
  return points_;
}

Batch PdeSource::batch(int64_t epoch, int64_t index) const {
  check(epoch >= 0 && index == 0, "pde: an epoch has one batch, got ", index, " of epoch ", epoch);
  const PdeProblem& p = *problem_;
  Batch out;
  if (request_.split == Split::test) {
    out.tensors.push_back(limited(p.test_points));
    for (size_t t = 1; t < p.terms.size(); ++t) {
      out.tensors.push_back(Tensor::zeros({0, dimensions(p)}, DType::f64));
    }
    out.tensors.push_back(limited(p.truth));
    out.examples = out.tensors.front().size(0);
  } else {
    const int64_t draw = request_.training && p.resample > 0 ? epoch / p.resample : 0;
    out.tensors = points_of(draw);
    for (const Tensor& points : out.tensors) out.examples += points.size(0);
    out.tensors.push_back(Tensor::zeros({0, p.outputs}, DType::f64));
  }
  out.rows.resize(static_cast<size_t>(out.examples));
  for (size_t i = 0; i < out.rows.size(); ++i) out.rows[i] = static_cast<int64_t>(i);
  return out;
}

// The points of every term, cut into equal parts: the mean over the parts is then the mean.
Batch microbatch_of_points(const PdeProblem& p, const Batch& batch, int64_t index, int64_t parts) {
  Batch out;
  for (size_t t = 0; t < p.terms.size(); ++t) {
    const Tensor& points = batch.tensors[t];
    check(!p.terms[t].whole, "pde: the points of the term ", p.terms[t].name,
          " belong together and cannot be cut into microbatches; leave --microbatches out");
    check(points.size(0) % parts == 0, "pde: the ", points.size(0), " points of the term ",
          p.terms[t].name, " cannot be cut into ", parts,
          " equal microbatches; choose a number that divides them");
    const PartRange range = part_range(points.size(0), index, parts);
    out.tensors.push_back(slice(points, 0, range.begin, range.end));
    out.examples += range.count();
  }
  out.tensors.push_back(batch.tensors.back());  // the truth, of which there is none
  for (int64_t i = 0; i < out.examples; ++i) out.rows.push_back(index * out.examples + i);
  return out;
}

// u and its derivatives at points [P, d + extra].
Jet solution(const PdeProblem& p, const Model& model, const Tensors& params, const Tensors& buffers,
             const Tensor& points, const JetOrders& orders, const ForwardOptions& mode) {
  const int64_t d = dimensions(p);
  const Tensor x = points.size(1) == d ? points : slice(points, 1, 0, d);
  const Jet n = jet_of(model, params, buffers, {x}, orders, mode);
  return p.ansatz ? p.ansatz(jet_seed(x, orders), n) : n;
}

Objective collocation(const ProblemPtr& p, const Model& model, const Tensors& buffers,
                      const Batch& batch, const ForwardOptions& mode) {
  Objective out;
  out.n_outputs = p->terms.size();
  out.examples = batch.examples;
  for (const PdeTerm& t : p->terms) out.term_names.push_back(t.name);
  out.outputs = [=, points = batch.tensors](const Tensors& params) {
    Tensors residuals;
    for (size_t t = 0; t < p->terms.size(); ++t) {
      const PdeTerm& term = p->terms[t];
      const Jet u = solution(*p, model, params, buffers, points[t], term.orders, mode);
      residuals.push_back(term.residual(u, points[t]));
    }
    return residuals;
  };
  std::vector<double> weights;
  for (const PdeTerm& t : p->terms) weights.push_back(t.weight);
  out.terms = mean_squares(std::move(weights));
  return out;
}

// Where the truth is known: u itself.
Objective judged(const ProblemPtr& p, const Model& model, const Tensors& buffers,
                 const Batch& batch, const ForwardOptions& mode) {
  Objective out;
  out.examples = batch.examples;
  out.term_names = {"mse"};
  const JetOrders none(p->coordinates.size(), 0);
  out.outputs = [=, x = batch.tensors.front()](const Tensors& params) {
    return Tensors{solution(*p, model, params, buffers, x, none, mode).value};
  };
  out.terms = [truth = batch.tensors.back()](const Tensors& outputs) {
    return Tensors{mean(square(outputs.front() - truth))};
  };
  return out;
}

// Points of a reader's own.
class GivenPoints : public Source {
 public:
  GivenPoints(Tensor points, std::vector<Slot> slots)
      : points_(std::move(points)), slots_(std::move(slots)) {}
  const std::vector<Slot>& slots() const override { return slots_; }
  int64_t examples() const override { return points_.size(0); }
  int64_t batches() const override { return 1; }
  Batch batch(int64_t, int64_t) const override {
    Batch out{{points_}, points_.size(0), {}};
    for (int64_t i = 0; i < examples(); ++i) out.rows.push_back(i);
    return out;
  }
  std::string description() const override { return str(examples(), " points"); }
  std::string content_hash() const override { return {}; }

 private:
  Tensor points_;
  std::vector<Slot> slots_;
};

// Lines of d numbers, separated by commas or blanks; a first line of other words is a heading.
std::vector<double> read_points(const std::string& path, int64_t d,
                                std::vector<std::string>& names) {
  const std::string text = read_text_file(path);
  std::vector<double> out;
  LineReader lines(text);
  for (std::string_view line; lines.next(line);) {
    std::vector<double> numbers;
    int64_t words = 0;
    for (size_t at = line.find_first_not_of(", \t"); at != std::string_view::npos;
         at = line.find_first_not_of(", \t", at)) {
      const size_t end = std::min(line.find_first_of(", \t", at), line.size());
      double value = 0;
      ++words;
      if (parse_double(line.substr(at, end - at), value)) numbers.push_back(value);
      at = end;
    }
    if (words == 0 || (lines.number() == 1 && numbers.empty())) continue;
    if (words != d || std::ssize(numbers) != d) {
      fail(ErrorKind::data, path, ":", lines.number(), ": expected ", d, " numbers, found '",
           line.substr(0, 60), "'");
    }
    out.insert(out.end(), numbers.begin(), numbers.end());
    names.push_back(str(path, ":", lines.number()));
  }
  if (out.empty()) fail(ErrorKind::data, path, ": expected lines of ", d, " numbers, found none");
  return out;
}

Unlabelled given_points(const PdeProblem& p, const std::vector<std::string>& paths) {
  const int64_t d = dimensions(p);
  Unlabelled out;
  std::vector<double> numbers;
  for (const std::string& path : paths) {
    const std::vector<double> more = read_points(path, d, out.names);
    numbers.insert(numbers.end(), more.begin(), more.end());
  }
  out.source = std::make_shared<GivenPoints>(Tensor::from(numbers, {std::ssize(numbers) / d, d}),
                                             slots_of(p));
  return out;
}

std::vector<std::vector<std::string>> prediction_cells(const Tensors& predictions) {
  const Tensor u = predictions.front().to(DType::f64);
  const int64_t columns = u.size(1);
  std::vector<std::vector<std::string>> out;
  for (int64_t i = 0; i < u.size(0); ++i) {
    std::vector<std::string> cells;
    for (int64_t c = 0; c < columns; ++c) cells.push_back(number_text(u.at(i * columns + c)));
    out.push_back(std::move(cells));
  }
  return out;
}

// Truth, network, their difference and, of a term at single points, what is left over of the first
// term, on the test grid.
std::vector<Field> fields_of(const PdeProblem& p, const Model& model, const Tensors& params,
                             const Tensors& buffers) {
  const Tensor x = p.test_points.to(params.front().dtype());
  const PdeTerm& term = p.terms.front();
  const ForwardOptions mode = ForwardOptions::evaluation();
  const Jet u = solution(p, model, params, buffers, x, term.orders, mode);
  const Tensor value = u.value.to(DType::f64);
  const Shape grid{std::ssize(p.grid_second), std::ssize(p.grid_first)};
  const auto field = [&](const std::string& name, const Tensor& values) {
    return Field{name,         p.coordinates[0], p.coordinates[1],
                 p.grid_first, p.grid_second,    reshape(slice(values, 1, 0, 1), grid)};
  };
  std::vector<Field> out{field("truth", p.truth), field("network", value),
                         field("error", value - p.truth)};
  // The residual of points that belong together is that of those points alone.
  if (!term.whole) out.push_back(field(term.name, term.residual(u, x).to(DType::f64)));
  return out;
}

}  // namespace

Task pde_task(PdeProblem problem, const TaskConfig& config) {
  check_problem(problem);
  const auto p = std::make_shared<const PdeProblem>(std::move(problem));
  Task task;
  ModelConfig network = config.model;
  network.outputs = p->outputs;
  network.output_name = "u";
  for (const OptionInfo& option : model_info(network.name).options) {
    if (option.name == "inputs") network.options.try_emplace("inputs", str(dimensions(*p)));
  }
  task.model = make_model(network);
  require_inputs(task.model, slots_of(*p), config.name);
  const std::string hash = hash_of(*p, config.seed);
  task.source = [p, hash, seed = config.seed](const SourceRequest& request) {
    return std::make_shared<PdeSource>(p, request, seed, hash);
  };
  task.data = [p, hash, seed = config.seed] {
    int64_t train = 0;
    for (const PdeTerm& t : p->terms) train += t.points(seed, 0).size(0);
    return DataFacts{p->source, p->description, hash, train, 0, p->test_points.size(0)};
  };
  task.objective = [p, model = task.model](const Tensors& buffers, const Batch& batch,
                                           const ForwardOptions& mode) {
    const bool known = batch.tensors.size() == 1 || batch.tensors.back().size(0) > 0;
    return known ? judged(p, model, buffers, batch, mode)
                 : collocation(p, model, buffers, batch, mode);
  };
  task.microbatch = [p](const Batch& batch, int64_t index, int64_t parts) {
    return microbatch_of_points(*p, batch, index, parts);
  };
  task.metrics = relative_error_metrics();
  task.meter = relative_error_meter;
  task.unlabelled = [p](const std::vector<std::string>& paths, int64_t) {
    return given_points(*p, paths);
  };
  for (int64_t c = 0; c < p->outputs; ++c) {
    task.prediction_columns.push_back(p->outputs == 1 ? "u" : str("u", c + 1));
  }
  task.prediction_rows = prediction_cells;
  if (!p->grid_first.empty()) {
    task.fields = [p, model = task.model](const Tensors& params, const Tensors& buffers) {
      return fields_of(*p, model, params, buffers);
    };
  }
  task.likelihood = Likelihood::gaussian;
  task.example = "point";
  return task;
}

Fn mean_squares(std::vector<double> weights) {
  return [weights = std::move(weights)](const Tensors& residuals) {
    Tensors terms;
    for (size_t t = 0; t < weights.size(); ++t) {
      terms.push_back(scale(mean(square(residuals[t])), weights[t]));
    }
    return terms;
  };
}

std::vector<RecipeRow> pde_defaults() {
  return {{"", "", "", "dtype", "f64"},
          {"", "", "", "steps", "10000"},
          {"", "", "", "eval_every", "500"},
          {"", "", "", "checkpoint_every", "2500"},
          {"", "", "", "log_every", "100"}};
}

}  // namespace basin
