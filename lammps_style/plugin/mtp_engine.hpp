// Moment tensor potentials over LAMMPS' arrays.
#pragma once

#include <memory>

#include "engine.hpp"
#include "mtp/model.hpp"

namespace pescape {

std::unique_ptr<Engine> make_mtp_engine(const mtp::Model& model, bool single_precision);

}  // namespace pescape
