// Ranks of weights and representations of one checkpoint.
#include "basin/analysis/ranks.h"
#include "basin/analysis/representation.h"
#include "basin/tools/landscape_probe/probe.h"

namespace basin::tools {
namespace {

LayerRankRecord layer_record(const RepresentationRanks& r, bool centred, bool pooled) {
  const RepresentationSpectrum& s = centred ? r.centred : r.uncentred;
  return {r.layer, r.samples, r.channels, centred, pooled, s.stable, s.effective};
}

}  // namespace

RanksRecord measure_ranks(const ProbeContext& context) {
  const WeightSpectra now = weight_spectra(context.subject.state().params);
  const WeightSpectra before = weight_spectra(context.subject.initial().params);
  RanksRecord out;
  for (size_t i = 0; i < now.matrices.size(); ++i) {
    const MatrixSpectrum& m = now.matrices[i];
    const MatrixSpectrum& first = before.matrices[i];
    out.weights.push_back({m.name, m.rows, m.cols, m.singular_values.to_vector<double>(),
                           first.singular_values.to_vector<double>(), m.ranks.stable,
                           m.ranks.effective, first.ranks.stable, first.ranks.effective});
  }
  for (const SkippedParameter& s : now.skipped) out.skipped.push_back({s.name, s.reason});
  return out;
}

RepresentationsRecord measure_representations(const ProbeContext& context) {
  const Subject& subject = context.subject;
  const ProbeSettings& s = context.settings;
  const ProbeData data =
      probe_data(subject.test_set(), "test", subject.train(), s.rank_shapes, s.batch, s.seed);
  const std::vector<Representation> layers =
      representations(subject.model(), subject.state(), data);
  std::vector<std::pair<std::string, Tensor>> named;
  for (const Representation& layer : layers) named.emplace_back(layer.layer, layer.rows);
  RepresentationOptions options;
  options.interval = s.rank_interval;
  options.resamples = s.resamples;
  options.seed = s.seed;
  const std::vector<RepresentationRanks> ranks = representation_ranks(named, options);
  RepresentationsRecord out;
  out.data = data.description;
  for (size_t i = 0; i < ranks.size(); ++i) {
    for (const bool centred : {false, true}) {
      out.layers.push_back(layer_record(ranks[i], centred, layers[i].pooled));
    }
  }
  return out;
}

}  // namespace basin::tools
