// The jobs of a study: one training, or one measurement of one training or of several. A job is
// what it computes: its name is the SHA-256 of program, settings and, of a measurement, the
// trainings measured. So a
// setting that changes makes another job and nothing ever mixes, and a job that two cells, rounds
// or studies share is done once.
#pragma once
#include <string>
#include <vector>

#include "basin/tools/study/study.h"

namespace basin::tools {

enum class Stage : uint8_t { search, final, measure, between };
inline constexpr size_t kStages = 4;
std::string_view name_of(Stage stage);

struct Job {
  std::string hash = {};  // 16 hexadecimal digits
  Stage stage = Stage::search;
  std::string model, optimizer;  // optimizer: empty between trainings of several
  StudySettings cell = {};       // the setting of the grid
  int64_t round = 0;             // of a search
  uint64_t seed = 0;
  std::string program = {};
  StudySettings settings = {};            // all of the program's
  std::string measurement = {};           // its name
  std::string arguments = {};             // of a measurement, with {run}, {runs} and {best_val}
  std::vector<std::string> parents = {};  // of a measurement: the hashes of its trainings
  std::string reads = {};                 // the training whose metrics the settings name: its hash

  std::string label() const;  // "final pointnet adamw lr=0.001 seed 2", "barriers pointnet, 8 runs"
};

Job search_job(const Study& study, const StudySubject& model, const StudySubject& optimizer,
               const StudySettings& cell, int64_t round, uint64_t seed);
// `reads`: the training that stands for {metrics NAME}; it becomes part of the job's name.
Job final_job(const Study& study, const StudySubject& model, const StudySubject& optimizer,
              const StudySettings& cell, uint64_t seed, const std::string& reads = {});
Job measure_job(const StudyMeasurement& measurement, const Job& training);
// trainings: at least one, of one network, in the order in which the program gets them.
Job between_job(const StudyMeasurement& measurement, const std::vector<Job>& trainings);

void replace_all(std::string& text, std::string_view what, std::string_view by);

// Which of `shards` a job belongs to.
int64_t shard_of(const Job& job, int64_t shards);

}  // namespace basin::tools
