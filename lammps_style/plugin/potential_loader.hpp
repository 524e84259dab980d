// From the name in pair_coeff to a file's content, the same on all ranks, and to species.
#pragma once

#include <string>
#include <vector>

#include "potential.hpp"

namespace LAMMPS_NS {
class LAMMPS;
}

namespace pescape {

struct PotentialBytes {
  std::string bytes;
  bool is_folder = false;  ///< then there are none
};

/// Whether rank 0 can read the file, which may be in the folder LAMMPS_POTENTIALS names.
bool potential_is_readable(LAMMPS_NS::LAMMPS* lmp, const std::string& name);

/// Reads the file on rank 0 and hands it to all. One that cannot be read is a LAMMPS error.
PotentialBytes read_potential(LAMMPS_NS::LAMMPS* lmp, const std::string& name);

/// The potential's species for each element, -1 for "NULL".
///
/// Elements are found by name if the file names its own, else in order of appearance.
/// Throws std::invalid_argument if they do not fit.
std::vector<int> assign_species(const std::string& file, const Potential& potential,
                                const std::vector<std::string>& elements);

}  // namespace pescape
