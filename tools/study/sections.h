// Sections of a study's report that draw on more than the flat records: on the parts that
// measurements left (curvature, ranks, barriers: tools/landscape_probe), and on the probes along
// the trainings. What is not in the records is not drawn; the section says what is absent and why.
#pragma once
#include "basin/figures/report.h"
#include "basin/tools/landscape_probe/part.h"
#include "basin/tools/study/results.h"

namespace basin::tools {

// What [between.NAME] measured, per network: the answer in words, matrices and tables where the
// program was `landscape_probe barriers`, else the numbers of its record.
std::vector<PartSection> between_sections(const Schedule& schedule, Ledger& ledger,
                                          const std::string& command);

// What the parts that the measurements left say over the seeds of each optimizer, per measurement
// and network; `absent` gets a sentence for what they do not hold.
std::vector<PartSection> measured_sections(const Study& study, const Schedule& schedule,
                                           Ledger& ledger, const FigureConditions& conditions,
                                           std::vector<std::string>& absent);

// What trainings with `probe` recorded on the way, over all seeds: ranks, curvature and the first
// metric over shared steps, in words from when on the optimizers differ from the baseline, and the
// values at the end against the metric.
std::vector<PartSection> along_sections(const Study& study, const Schedule& schedule,
                                        Ledger& ledger, const FigureConditions& conditions,
                                        std::vector<std::string>& absent);

// The lines of a training's metrics.jsonl as its record keeps them, without those of single
// matrices, which are many. Empty: it failed, or left none.
std::vector<RecordFields> lines_of(const StudyRun& run, Ledger& ledger);

// The curvature of two optimizers where their losses are equal: cross-entropy curves less the
// better the data are fitted, so that a ratio at the ends, where the losses differ, mixes two
// effects. From the probes along the trainings, each with the loss on its own examples: λ max and
// trace of a run at a loss are read where its probes first pass it, on a straight line between the
// logarithms. The places are the last probe of each run, the lowest loss that every run of the two
// reached, and the middle (of the logarithms) between that and the highest from which all of them
// came.
NamedTable matched_table(const Study& study, const Schedule& schedule, Ledger& ledger);
// The same table with a picture: every probe of every run, curvature over loss.
std::vector<PartSection> matched_sections(const Study& study, const Schedule& schedule,
                                          Ledger& ledger, const FigureConditions& conditions);

// What measurements of the search found, cell by cell: how far a quantity depends on the learning
// rate and its like, beside how far it depends on the optimizer. Without rows where nothing
// measures the search.
NamedTable grid_table(const Study& study, const Schedule& schedule, Ledger& ledger);
// The same table with a picture per metric, a panel per network, over the first setting of the grid
// that is a positive number in every cell.
std::vector<PartSection> grid_sections(const Study& study, const Schedule& schedule, Ledger& ledger,
                                       FigureConditions conditions);

// Of several networks: the ratios of every logarithmic metric to the baseline in one picture, and
// on how many networks an optimizer is better, with the sign test.
std::vector<PartSection> network_sections(const Study& study, const StudyResults& results,
                                          const FigureConditions& conditions);

// Of measurements by `train_modelnet --corruptions`: the 15 x 5 matrix of the error rate minus that
// of the baseline, and the families with their intervals.
std::vector<PartSection> corruption_sections(const Study& study, const Schedule& schedule,
                                             Ledger& ledger, FigureConditions conditions,
                                             std::vector<std::string>& absent);

}  // namespace basin::tools
