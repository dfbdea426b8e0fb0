// Task: what is trained on what and how it is judged, as plain data. Everything above a network
// stands on this one type: training, resume, probes, slices, ranks, reports know nothing else of
// the problem. A task is one file (train/tasks/, or a consumer's own) and one call of
// register_task.
//
//   Task task = make_task({.name = "modelnet", .model = {.name = "dgcnn"}});
//   Trainer trainer(task, options);          // train/trainer.h
//   trainer.run("runs/mine");
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "basin/core/options.h"
#include "basin/core/record.h"
#include "basin/models/model.h"

namespace basin {

enum class Split : uint8_t { train, validation, test };
std::string_view name_of(Split split);

// First the model's inputs, in the order of Model::inputs, then whatever the loss compares with.
struct Batch {
  Tensors tensors;  // one per slot of its source
  int64_t examples = 0;
  std::vector<int64_t> rows;  // which examples of the split

  Batch to(DType dtype) const;  // casts the floats, leaves integers
  Batch to(Device device) const;
};

struct SourceRequest {
  Split split = Split::train;
  // As a training step wants it: shuffled, augmented, an incomplete last batch dropped. Else in
  // order, complete, as it is, every epoch alike.
  bool training = false;
  int64_t batch = 32;     // examples; a task may give fewer (sizes that do not mix)
  int64_t limit = 0;      // that many, drawn without replacement by `seed`, kept in order; 0: all
  uint64_t seed = 0;      // of that draw
  bool prefetch = false;  // make the next batch ahead of time, with identical results
};

// `wanted` of the rows 0 .. available - 1, drawn without replacement by the seed, ascending; all of
// them when `wanted` is 0 or more. For sources that serve a limited request.
std::vector<int64_t> drawn_rows(int64_t available, int64_t wanted, uint64_t seed);

// SHA-256 over the bytes of f64 tensors on the CPU, one after the other: the content hash of data
// that were generated.
std::string content_hash_of(const Tensors& tensors);

// Batches as a pure function of (epoch, index): a resumed run asks for the one it needs, nothing is
// replayed. batch() is thread-safe.
class Source {
 public:
  virtual ~Source() = default;
  virtual const std::vector<Slot>& slots() const = 0;
  virtual int64_t examples() const = 0;
  virtual int64_t batches() const = 0;  // per epoch
  virtual Batch batch(int64_t epoch, int64_t index) const = 0;
  // "1024 of 9843 training shapes (seed 0), 128 points"
  virtual std::string description() const = 0;
  virtual std::string content_hash() const = 0;  // of the split, SHA-256
};

// usage error unless the model takes the first of these slots, name by name.
void require_inputs(const Model& model, const std::vector<Slot>& slots, const std::string& task);

struct Metric {
  std::string name;       // as in metrics.jsonl: "overall_accuracy"
  std::string unit = {};  // "%": a share, shown times 100; "meV"; "": a plain number
  bool larger_is_better = false;
};

// Collects predictions in report units, batch by batch, and sums them up.
class Meter {
 public:
  virtual ~Meter() = default;
  virtual void add(const Batch& batch, const Tensors& predictions) = 0;  // on the CPU
  virtual std::vector<double> result() const = 0;  // in the order of the metrics; NaN: undefined
  // What a training that stops within an epoch needs to go on; flat, each key once.
  virtual Record save() const { return {}; }
  virtual void load(const RecordFields&, const std::string& /*prefix of the keys*/) {}
};

// Which likelihood the loss is the negative logarithm of: what Gauss-Newton and Fisher products may
// assume. none: the loss has no curvature in its outputs (mean absolute error), or no such reading.
enum class Likelihood : uint8_t { softmax, bernoulli, gaussian, none };

// What a task learnt from the training data besides weights (class names, mean and spread, atom
// references), by name. In every checkpoint; given back to make().
using Fitted = std::map<std::string, std::string>;
// usage error "TASK: the weights do not say the KEY of the WHAT they were trained on" without it
double fitted_number(const Fitted& fitted, const std::string& key, const char* task,
                     const char* what);

struct DataFacts {
  std::string source;       // folder or generator
  std::string description;  // one line: layout, counts, what was done to the data
  std::string hash;         // over the content of all splits
  int64_t train = 0, validation = 0, test = 0;  // examples
};

struct TaskConfig {
  std::string name;
  OptionValues options = {};
  ModelConfig model = {};  // its number of outputs is the task's to set
  uint64_t seed = 0;       // of everything random but the weights' start, e.g. augmentation
  Fitted fitted = {};      // empty: fit to the training data
  // See OptionReader::set_place.
  std::function<std::string(const std::string& option)> place = {};
};

// A map of two coordinates that shows what was learned: solution, error, residual of an equation.
struct Field {
  std::string name;
  std::string x_name, y_name;
  std::vector<double> x, y;  // ascending
  Tensor values;             // [y, x] f64
};

// Examples of which nothing but the inputs is known.
struct Unlabelled {
  std::shared_ptr<const Source> source;  // without targets
  std::vector<std::string> names;        // of the examples: their files
};

struct Task {
  std::string name;
  TaskConfig config = {};  // what make_task() was given, resolved; makes the same task again
  Model model;
  // Lazy: reading a split happens at the first request for it. usage error when there is no such
  // split.
  std::function<std::shared_ptr<const Source>(const SourceRequest&)> source;
  std::function<DataFacts()> data;  // reads the data when nothing has yet
  // The loss on a batch, in evaluation mode or as the options say. Its forward pass must not read
  // targets, so that predictions can be made where there are none.
  std::function<Objective(const Tensors& buffers, const Batch&, const ForwardOptions&)> objective;
  // One of so many parts of a training batch (train/microbatch.h); absent: as the slots say.
  std::function<Batch(const Batch&, int64_t index, int64_t parts)> microbatch = {};
  // Outputs of the objective in report units; empty: as they are.
  std::function<Tensors(const Tensors& outputs, const Batch&)> predictions = {};
  std::vector<Metric> metrics;  // at least one; the first selects the best checkpoint
  std::function<std::unique_ptr<Meter>()> meter;
  // Judged on the outputs of the training steps themselves (dropout on); may be absent. The first
  // of the meter's results; none is called loss, which train_loss is.
  std::vector<Metric> train_metrics = {};
  std::function<std::unique_ptr<Meter>()> train_meter = {};
  // What a reader wants to know of predictions alone. Files, or folders of files -> examples; the
  // columns of a table; its cells for each example of a batch. Absent: the task cannot say.
  std::function<Unlabelled(const std::vector<std::string>& paths, int64_t batch)> unlabelled = {};
  std::vector<std::string> prediction_columns = {};
  std::function<std::vector<std::vector<std::string>>(const Tensors& predictions)> prediction_rows =
      {};
  // Pictures of what trained weights say, on the CPU; the first one is the truth where it is known.
  // Absent: the task has none.
  std::function<std::vector<Field>(const Tensors& params, const Tensors& buffers)> fields = {};
  Fitted fitted;
  Likelihood likelihood = Likelihood::none;
  std::string example = "example";  // what one is called: "shape", "molecule"
  Record facts = {};                // settings that records and reports name: points, augment, ...

  bool has(Split split) const;  // any example
  Tensors predict(const Tensors& outputs, const Batch& batch) const;
};

// A default that a named training recipe, or a variant of the network, sets (--preset of the
// programs). Empty `model`, `optimizer`: for all of them; a row with an optimizer goes with it.
// Empty `recipe`: a default of the task itself, which recipes may change.
inline constexpr const char* kModelPresetKey = "model preset";  // no setting: which variant
struct RecipeRow {
  std::string recipe, model, optimizer, key, value;
};
struct Recipe {
  std::string name, summary;
};

struct TaskInfo {
  using Make = std::function<Task(const TaskConfig&, const OptionReader&)>;
  std::string name;
  std::string summary;
  std::vector<OptionInfo> options;
  std::vector<std::string> models = {};  // that take its batches; the first is the default
  std::vector<Recipe> recipes = {};
  std::vector<RecipeRow> recipe_rows = {};
  Make make;
};

// usage error when the name is taken. Returns true, so that a namespace-scope constant can call it.
bool register_task(TaskInfo info);
std::vector<std::string> task_names();
const TaskInfo& task_info(const std::string& name);  // usage error with the nearest name
std::string task_help();
Task make_task(const TaskConfig& config);  // usage errors of a name, an option or its value

}  // namespace basin
