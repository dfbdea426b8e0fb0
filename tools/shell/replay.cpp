// Running a failed step again and telling whether it fails in the same way.
#include "basin/tools/shell/replay.h"

#include <iostream>

#include "basin/core/text.h"
#include "basin/tools/shell/measure.h"
#include "basin/train/step_failure.h"

namespace basin::tools {
namespace {

std::string text_or_none(const std::string& text) { return text.empty() ? "none" : text; }

// Of what decides whether a failure is the same one.
std::string where(const std::string& sweep, const std::string& op, const std::string& layer) {
  return str(text_or_none(op), " (", sweep, "), layer ", text_or_none(layer));
}

}  // namespace

int replay(const Config& config) {
  const fs::path folder = config.text("replay");
  Bundle bundle = read_bundle(folder);
  StepFailure& failure = bundle.failure;
  const bool repeated = repeats(failure);
  examine(failure);
  const RecordFields now = parse_record(failure.record().line(), "replay");
  const auto place = [](const RecordFields& f) {
    return where(f.text("sweep"), f.text("op"), f.text("layer"));
  };
  const std::string here = place(now), there = place(bundle.recorded);
  std::cout << "bundle    " << folder.string() << "\nstep      " << failure.step << " (epoch "
            << failure.epoch << ", batch " << failure.batch << ")\nrecorded  " << there
            << "\nreplayed  " << (repeated ? here : "finite, loss " + number_text(failure.loss))
            << '\n';
  write_json(config, failure.record());
  if (repeated && here == there) fail(ErrorKind::numerical, "replay: ", failure.sentence());
  fail(ErrorKind::internal, "replay: ", folder.string(), ": step ", failure.step,
       repeated ? str(" fails at ", here) : str(" is finite here (loss ", failure.loss, ")"),
       ", recorded was ", there, "; try the version that wrote it, ",
       bundle.recorded.text("version"));
}

}  // namespace basin::tools
