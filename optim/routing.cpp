// The routing rule and its printed table.
#include "basin/optim/routing.h"

#include <algorithm>
#include <array>

#include "basin/optim/groups.h"

namespace basin {
namespace {

// Matrices of the reference code: 4-D flattened, every other rank batched over the leading axes.
std::vector<MatrixBlock> reference_blocks(const Shape& shape) {
  if (shape.rank() < 2 || shape.numel() == 0) return {};
  if (shape.rank() == 4) return {{0, shape[0], shape.numel() / shape[0]}};
  const int64_t rows = shape[-2], cols = shape[-1];
  std::vector<MatrixBlock> blocks;
  for (int64_t at = 0; at < shape.numel(); at += rows * cols) blocks.push_back({at, rows, cols});
  return blocks;
}

std::vector<MatrixBlock> blocks_under(const Param& param, MatrixView view) {
  switch (view) {
    case MatrixView::matrix: return param.view;
    case MatrixView::reference: return reference_blocks(param.reference_shape);
    case MatrixView::torch: break;
  }
  return param.reference_shape.rank() == 2 ? reference_blocks(param.reference_shape)
                                           : std::vector<MatrixBlock>{};
}

void check_cover(const Param& param, const std::vector<MatrixBlock>& blocks) {
  int64_t covered = 0;
  for (const MatrixBlock& b : blocks) {
    check(b.offset >= 0 && b.rows > 0 && b.cols > 0 &&
              b.offset + b.rows * b.cols <= param.value.numel(),
          "routing: a matrix block of '", param.name, "' leaves its tensor ", param.value.shape());
    covered += b.rows * b.cols;
  }
  check(covered == param.value.numel(), "routing: the matrix blocks of '", param.name, "' hold ",
        covered, " of its ", param.value.numel(), " elements");
}

bool any_match(const std::vector<std::string>& patterns, const Param& param) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    return rule_matches({pattern, {}, {}}, param);
  });
}

// Empty: no clause objects.
std::string objection(const Param& param, const RoutingConfig& config, bool has_blocks) {
  if (param.view.empty()) return str("no matrix view (", name_of(param.role), ")");
  if (!has_blocks) return str("reference shape ", param.reference_shape, " is not 2-D");
  if ((param.role == Role::embedding && !config.embedding) ||
      (param.role == Role::head && !config.head) || (param.role == Role::first && !config.first)) {
    return str("role ", name_of(param.role));
  }
  for (const MatrixBlock& b : param.view) {
    const int64_t side = std::min(b.rows, b.cols);
    if (side < config.min_side) return str("min(rows, cols) = ", side, " < ", config.min_side);
  }
  return {};
}

}  // namespace

Route route(const Param& param, const RoutingConfig& config) {
  Route out;
  std::vector<MatrixBlock> blocks = blocks_under(param, config.view);
  if (any_match(config.force_auxiliary, param)) {
    out.why = "named in force_aux";
    return out;
  }
  const bool forced = any_match(config.force_matrix, param);
  check(!forced || !blocks.empty(), "routing: '", param.name, "' ", param.value.shape(),
        " is named in force_muon but has no matrix under the chosen view");
  out.why = forced ? "named in force_muon" : objection(param, config, !blocks.empty());
  if (!forced && !out.why.empty()) return out;
  if (!forced) {
    out.why = param.role == Role::matrix ? "hidden matrix"
                                         : str("role ", name_of(param.role), " allowed");
  }
  check_cover(param, blocks);
  out.matrix = true;
  out.blocks = std::move(blocks);
  return out;
}

void check_routing_used(const ParamList& params, const RoutingConfig& config) {
  const auto look = [&](const char* what, const std::vector<std::string>& patterns) {
    for (const std::string& pattern : patterns) {
      const bool used = std::any_of(params.begin(), params.end(),
                                    [&](const Param& p) { return any_match({pattern}, p); });
      check(used, "routing: ", what, " names '", pattern, "', which matches no parameter");
    }
  };
  look("force_muon", config.force_matrix);
  look("force_aux", config.force_auxiliary);
}

std::string view_text(const std::vector<MatrixBlock>& blocks) {
  if (blocks.empty()) return "-";
  const MatrixBlock& first = blocks.front();
  const bool equal = std::all_of(blocks.begin(), blocks.end(), [&](const MatrixBlock& b) {
    return b.rows == first.rows && b.cols == first.cols;
  });
  if (!equal) return str(blocks.size(), " blocks");
  const std::string one = str(first.rows, "x", first.cols);
  return blocks.size() == 1 ? one : str(blocks.size(), " of ", one);
}

std::string format_routing_table(const std::vector<RoutingRow>& rows) {
  using Line = std::array<std::string, 8>;
  std::vector<Line> lines{{"name", "shape", "view", "optimizer", "lr", "wd", "group", "why"}};
  for (const RoutingRow& r : rows) {
    lines.push_back({r.name, r.shape.to_string(), r.view, r.optimizer, str(r.lr),
                     str(r.weight_decay), r.group, r.why});
  }
  std::array<size_t, 8> width{};
  for (const Line& line : lines) {
    for (size_t c = 0; c < line.size(); ++c) width[c] = std::max(width[c], line[c].size());
  }
  TextWriter out;
  for (const Line& line : lines) {
    for (size_t c = 0; c + 1 < line.size(); ++c) {
      out << line[c] << std::string(width[c] - line[c].size() + 2, ' ');
    }
    out << line.back() << '\n';
  }
  return out.str();
}

}  // namespace basin
