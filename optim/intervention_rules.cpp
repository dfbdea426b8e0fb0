// The text forms of the interventions.
#include <cmath>

#include "basin/core/io.h"
#include "basin/core/lines.h"
#include "basin/optim/interventions.h"

namespace basin {
namespace {

struct Word {
  std::string key, value;
  bool given = false;  // a value, behind a '='
};

std::vector<Word> words_of(std::string_view text) {
  std::vector<Word> out;
  for (const std::string& part : comma_list(text)) {
    const size_t equals = part.find('=');
    const bool given = equals != part.npos;
    out.push_back({part.substr(0, equals), given ? part.substr(equals + 1) : "", given});
  }
  return out;
}

void set_kind(SpectrumRule& rule, const Word& word) {
  using Kind = SpectrumRule::Kind;
  check(rule.kind == Kind::none, "spectrum: one of cap, stable_rank, frozen and turn at a time");
  rule.kind = word.key == "cap"           ? Kind::cap
              : word.key == "stable_rank" ? Kind::stable_rank
              : word.key == "turn"        ? Kind::turn
                                          : Kind::frozen;
  if (rule.kind == Kind::frozen) {
    check(!word.given, "spectrum: 'frozen' has no value, got '", word.value, "'");
    return;
  }
  check(!word.value.empty(), "spectrum: expected ", word.key,
        "=NUMBER or the metrics.jsonl of a run with --probe");
  if (!parse_double(word.value, rule.value)) {
    rule.file = word.value;
    return;
  }
  const double least = rule.kind == Kind::stable_rank ? 1 : 0;
  check(std::isfinite(rule.value) && rule.value >= least, "spectrum: ", word.key,
        " must be at least ", least, ", got '", word.value, "'");
}

SpectrumRule::Sham sham_of(const std::string& text) {
  if (text == "own") return SpectrumRule::Sham::own;
  check(text == "turn", "spectrum: expected sham=own or sham=turn, got '", text, "'");
  return SpectrumRule::Sham::turn;
}

}  // namespace

SpectrumRule parse_spectrum_rule(std::string_view text) {
  SpectrumRule rule;
  for (const Word& w : words_of(text)) {
    int64_t seed = 0;
    if (w.key == "cap" || w.key == "stable_rank" || w.key == "turn" || w.key == "frozen") {
      set_kind(rule, w);
    } else if (w.key == "every") {
      check(parse_int64(w.value, rule.every) && rule.every >= 1,
            "spectrum: every must be a number of steps of at least 1, got '", w.value, "'");
    } else if (w.key == "seed") {
      check(parse_int64(w.value, seed) && seed >= 0, "spectrum: seed must be a count, got '",
            w.value, "'");
      rule.seed = static_cast<uint64_t>(seed);
    } else if (w.key == "matrices") {
      rule.matrices = w.value;
    } else if (w.key == "sham") {
      rule.sham = sham_of(w.value);
    } else {
      fail(ErrorKind::usage, "spectrum: expected cap=B, stable_rank=T, turn=R or frozen, with ",
           "every=E, matrices=PATTERN, sham=own|turn and seed=N, got '", w.key, "'");
    }
  }
  check(text.empty() || rule.kind != SpectrumRule::Kind::none, "spectrum: '", text,
        "' names none of cap, stable_rank, frozen and turn");
  check(rule.kind != SpectrumRule::Kind::turn || rule.sham == SpectrumRule::Sham::off,
        "spectrum: 'turn' leaves the singular values, it has no sham");
  return rule;
}

PenaltyRule parse_penalty_rule(std::string_view text) {
  PenaltyRule rule;
  for (const Word& w : words_of(text)) {
    double* weight = w.key == "stable_rank"      ? &rule.stable_rank
                     : w.key == "effective_rank" ? &rule.effective_rank
                     : w.key == "nuclear"        ? &rule.nuclear
                     : w.key == "spectral"       ? &rule.spectral
                     : w.key == "orthogonality"  ? &rule.orthogonality
                                                 : nullptr;
    if (w.key == "matrices") {
      rule.matrices = w.value;
      continue;
    }
    check(
        weight != nullptr && parse_double(w.value, *weight) && std::isfinite(*weight),
        "penalty: expected stable_rank, effective_rank, nuclear, spectral or orthogonality=WEIGHT "
        "and matrices=PATTERN, got '",
        w.key, w.given ? "=" : "", w.value, "'");
  }
  return rule;
}

}  // namespace basin
