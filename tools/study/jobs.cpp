// Jobs and their names.
#include "basin/tools/study/jobs.h"

#include <charconv>

#include "basin/figures/figure.h"

namespace basin::tools {
namespace {

std::string hash_of(const Job& job) {
  std::string text =
      str("job 1\n", job.program, "\n", job.arguments, "\n", joined(job.parents, " "), "\n");
  for (const auto& [key, value] : job.settings) text += str(key, "=", value, "\n");
  return sha256_hex({reinterpret_cast<const uint8_t*>(text.data()), text.size()}).substr(0, 16);
}

Job training(const Study& study, Stage stage, const StudySubject& model,
             const StudySubject& optimizer, const StudySettings& cell, uint64_t seed) {
  Job job{
      .stage = stage, .model = model.name, .optimizer = optimizer.name, .cell = cell, .seed = seed};
  job.program = study.program;
  job.settings = merged(study.settings, model.settings);
  job.settings = merged(job.settings, optimizer.settings);
  job.settings = merged(job.settings, cell);
  job.settings["seed"] = str(seed);
  return job;
}

}  // namespace

std::string_view name_of(Stage stage) {
  constexpr std::string_view names[] = {"search", "final", "measure", "between"};
  return names[static_cast<int>(stage)];
}

std::string Job::label() const {
  if (stage == Stage::between) return str(measurement, " ", model, ", ", parents.size(), " runs");
  return str(measurement.empty() ? name_of(stage) : measurement, " ", model, " ", optimizer, " ",
             settings_text(cell), cell.empty() ? "" : " ", "seed ", seed);
}

Job search_job(const Study& study, const StudySubject& model, const StudySubject& optimizer,
               const StudySettings& cell, int64_t round, uint64_t seed) {
  Job job = training(study, Stage::search, model, optimizer, cell, seed);
  const StudyRound& of = study.rounds.at(optimizer.name)[static_cast<size_t>(round)];
  job.settings = merged(merged(job.settings, study.search_settings), of.settings);
  job.round = round;
  job.hash = hash_of(job);
  return job;
}

Job final_job(const Study& study, const StudySubject& model, const StudySubject& optimizer,
              const StudySettings& cell, uint64_t seed, const std::string& reads) {
  Job job = training(study, Stage::final, model, optimizer, cell, seed);
  job.settings = merged(job.settings, study.final_settings);
  job.reads = reads;
  if (!reads.empty()) {
    for (auto& [key, value] : job.settings) {
      replace_all(value, str(kMetricsOf, optimizer.reads, "}"), str(kMetricsOf, reads, "}"));
    }
  }
  job.hash = hash_of(job);
  return job;
}

Job measure_job(const StudyMeasurement& measurement, const Job& training) {
  Job job = training;
  job.stage = Stage::measure;
  job.program = measurement.program;
  job.settings = measurement.settings;
  job.measurement = measurement.name;
  job.arguments = measurement.arguments;
  job.parents = {training.hash};
  job.hash = hash_of(job);
  return job;
}

Job between_job(const StudyMeasurement& measurement, const std::vector<Job>& trainings) {
  Job job;
  job.stage = Stage::between;
  job.model = trainings.front().model;
  job.program = measurement.program;
  job.settings = measurement.settings;
  job.measurement = measurement.name;
  job.arguments = measurement.arguments;
  for (const Job& training : trainings) job.parents.push_back(training.hash);
  job.hash = hash_of(job);
  return job;
}

void replace_all(std::string& text, std::string_view what, std::string_view by) {
  for (size_t at = text.find(what); at != text.npos; at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
}

int64_t shard_of(const Job& job, int64_t shards) {
  // What reads the weights or metrics of a training stays with it.
  const std::string& name = !job.reads.empty()     ? job.reads
                            : !job.parents.empty() ? job.parents.front()
                                                   : job.hash;
  uint64_t number = 0;
  std::from_chars(name.data(), name.data() + name.size(), number, 16);
  return static_cast<int64_t>(number % static_cast<uint64_t>(shards));
}

}  // namespace basin::tools
