// Behler-Parrinello networks over LAMMPS' arrays.
#pragma once

#include <memory>

#include "bpnn/model.hpp"
#include "engine.hpp"

namespace pescape {

/// Grades come from rows made of these.
std::unique_ptr<Engine> make_bpnn_engine(const bpnn::Model& model, bpnn::Parameters parameters);

}  // namespace pescape
