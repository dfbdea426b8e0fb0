// What is printed and written of measured symmetry errors (models/symmetry.h):
//   tables/equivariance.csv    kind,dtype,layer,compared,declared,transformations,largest,mean
//   figures/equivariance.svg   every error on a logarithmic axis, by layer, kind and precision
//   figures/equivariance.csv   kind,dtype,layer,transformation,error: the dots of the figure
#pragma once
#include <string>

#include "basin/core/io.h"
#include "basin/models/symmetry.h"

namespace basin::tools {

struct EquivarianceReport {
  std::string model, weights, examples;  // examples: which, in words
  int64_t transformations = 0;
  uint64_t seed = 0;
  SymmetryReport measured;
};

std::string equivariance_table(const EquivarianceReport& report);
std::string equivariance_csv(const EquivarianceReport& report);
std::string equivariance_dots_csv(const EquivarianceReport& report);
std::string equivariance_figure(const EquivarianceReport& report);  // SVG
std::string write_equivariance(const EquivarianceReport& report, const fs::path& dir);

}  // namespace basin::tools
