// Case loader: batches of point clouds as a training step asks for them (shuffled, with the
// augmentation of DGCNN) and as an evaluation does, from the embedded shapes in memory.
#include "basin/datasets/loader.h"
#include "basin/tools/bench/bench.h"

namespace basin::tools {

void run_loader(const BenchOptions& options, BenchReport& report) {
  const PointCloudSet set = load_dataset("embedded", {.points = options.points}).train;
  LoaderOptions training{.batch = options.batch, .points = options.points, .drop_last = true};
  training.augment = parse_augment("dgcnn");
  const PointCloudLoader train(set, training),
      test(set, evaluation_options(options.batch, options.points));
  const Work work{0, 0, 3.0 * 4 * static_cast<double>(options.batch * options.points)};
  for (const Place& place : places(options)) {
    if (place.device != Device::cpu) continue;
    const std::string section = str("loader.", place.key(), ".");
    const double peak = begin_section(str("Loader, B=", options.batch, ", N=", options.points),
                                      section, place, report);
    const auto next = [](const PointCloudLoader& loader) {
      return [&loader, at = int64_t{0}]() mutable {
        const int64_t batches = loader.batches_per_epoch();
        loader.batch(at / batches, at % batches);
        ++at;
      };
    };
    report.add(section + "training", "training, augmented", measure(options, next(train)), work,
               peak);
    report.add(section + "evaluation", "evaluation", measure(options, next(test)), work, peak);
  }
}

}  // namespace basin::tools
