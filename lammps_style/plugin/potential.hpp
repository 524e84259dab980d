// A potential as the pair styles use it, whatever its kind.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine.hpp"
#include "grade.hpp"

namespace pescape {

/// What extrapolation grades are measured against.
struct ActiveSet {
  GradeMatrix matrix;
  bool neighborhood_mode;  ///< rows are of atoms; otherwise of whole configurations
  double weight_scaling;   ///< a configuration of N atoms is divided by N^(weight_scaling/2)
};

struct Potential {
  std::unique_ptr<Engine> engine;
  std::vector<std::string> species_names;  ///< empty where the file names no elements
  int species_count = 0;
  double cutoff = 0.0;        ///< Å
  bool knows_ranges = false;  ///< which values symmetry functions had in the training data
  /// Shortest distances (Å) in the training data of ordered pairs of species; empty if unknown.
  std::vector<double> nearest;
  std::optional<ActiveSet> active_set;
};

}  // namespace pescape
