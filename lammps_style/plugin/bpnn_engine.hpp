// Behler-Parrinello networks over LAMMPS' arrays.
#pragma once

#include <memory>

#include "bpnn/model.hpp"
#include "engine.hpp"

namespace pescape {

/// Grades are by all weights or by those of the output layers.
std::unique_ptr<Engine> make_bpnn_engine(const bpnn::Model& model, bool all_weights);

}  // namespace pescape
