// Options of the task "qm9", and the splits of what they name.
#include "basin/train/tasks/detail/qm9_data.h"

#include <algorithm>

#include "basin/train/tasks/qm9.h"

namespace basin {

std::vector<OptionInfo> qm9_options() {
  using enum OptionKind;
  return {
      {"data", "embedded", "QM9 as a file or folder (.xyz, .sdf, .npz, ...), or 'embedded'", text},
      {"target", "u0", "mu alpha homo lumo gap r2 zpve u0 u h g cv; embedded: u0 mu r2", text},
      {"split", "auto",
       "torchmd (110,000/10,000/10,831), cormorant (100,000/17,748/13,083), own (train, valid, "
       "test.npz), random (80/10/10 by the seed), a file of rows (.npz) or of lines ID,PART; auto: "
       "own, torchmd for 130,831 molecules, else random",
       text},
      {"uncharacterized", "", "List of molecules to leave out (default: that beside the data)",
       text},
      {"limit", "0", "Molecules per split, drawn by the seed; 0: all", integer},
      {"loss", "l1", "l1 or mse, of the standardised target", text},
      {"standardise", "auto",
       "Mean and spread of the training targets: mad (mean absolute deviation), std, scale (spread "
       "alone) or none; auto: mad, or scale for heads without a shift",
       text},
      {"references", "auto",
       "Energies of isolated atoms taken off: published, fitted (least squares), none; auto: "
       "published for u0 u h g cv",
       text},
      {"bucket", "8", "Training batches among which molecules are sorted by size; 1: none",
       integer},
  };
}

Qm9Settings qm9_settings(const OptionReader& options, uint64_t seed) {
  Qm9Settings s;
  s.data = options.text("data");
  s.uncharacterized = options.text("uncharacterized");
  s.split = options.text("split");
  s.target = options.parsed("target", [&](const std::string& name) {
    const Qm9Target* found = &qm9_target(name);
    const std::vector<std::string> known = qm9_targets_of(s.data);
    check(std::find(known.begin(), known.end(), name) != known.end(),
          "the embedded molecules have no ", name, "; choose another, or give --data");
    return found;
  });
  s.squares = options.choice("loss", {"l1", "mse"}) == 1;
  options.choice("standardise", {"auto", "mad", "std", "scale", "none"});
  s.standardise = options.text("standardise");
  options.choice("references", {"auto", "published", "fitted", "none"});
  s.references = options.text("references");
  s.bucket = options.integer_in("bucket", 1, 1 << 20);
  s.limit = options.integer_in("limit", 0, int64_t{1} << 40);
  s.seed = seed;
  return s;
}

void MoleculeData::read() const {
  std::call_once(once_, [this] {
    const Qm9Data data =
        settings_.embedded() ? embedded_qm9() : load_qm9(settings_.data, settings_.uncharacterized);
    const Qm9Split split = qm9_split(settings_.split, data, settings_.seed);
    for (size_t i = 0; i < parts_.size(); ++i) {
      std::vector<int64_t> rows = split.rows[i];
      const auto n = static_cast<int64_t>(rows.size());
      if (settings_.limit > 0 && settings_.limit < n) {
        const std::vector<int64_t> drawn = drawn_rows(n, settings_.limit, settings_.seed);
        for (size_t k = 0; k < drawn.size(); ++k) rows[k] = rows[static_cast<size_t>(drawn[k])];
        rows.resize(drawn.size());
      }
      parts_[i] = std::make_shared<const Qm9Set>(subset(data.set, rows));
      hashes_[i] = parts_[i]->content_hash();
    }
    const std::string hashes = hashes_[0] + hashes_[1] + hashes_[2];
    facts_ = {settings_.data,
              str(data.description, "; ", split.description),
              sha256_hex(std::span(reinterpret_cast<const uint8_t*>(hashes.data()), hashes.size())),
              parts_[0]->size(),
              parts_[1]->size(),
              parts_[2]->size()};
  });
}

std::vector<std::string> qm9_targets_of(const std::string& data) {
  if (data == "embedded") return {"mu", "r2", "u0"};
  std::vector<std::string> out;
  for (const Qm9Target& t : qm9_targets()) out.emplace_back(t.name);
  return out;
}

}  // namespace basin
