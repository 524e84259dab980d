// From the name in pair_coeff to a parsed potential, the same on all ranks.
#pragma once

#include <string>
#include <vector>

#include "graded_pair.hpp"
#include "mtp/parse.hpp"

namespace LAMMPS_NS {
class LAMMPS;
}

namespace pescape {

struct LoadedPotential {
  PotentialIdentity identity;
  mtp::PotentialFile content;
};

/// Whether rank 0 can read the file, which may be in the folder LAMMPS_POTENTIALS names.
bool potential_is_readable(LAMMPS_NS::LAMMPS* lmp, const std::string& name);

/// Reads the file on rank 0 and parses it on all. Whatever is wrong with it is a LAMMPS error.
LoadedPotential load_potential(LAMMPS_NS::LAMMPS* lmp, const std::string& name);

/// The potential's species for each element, -1 for "NULL".
///
/// Elements are found by name if the file names its own, else in order of appearance.
/// Throws std::invalid_argument if they do not fit.
std::vector<int> assign_species(const LoadedPotential& potential,
                                const std::vector<std::string>& elements);

}  // namespace pescape
