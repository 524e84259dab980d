#pragma once

#include "configuration.hpp"

namespace LAMMPS_NS {
class LAMMPS;
}

namespace pescape {

/// Collects the system on rank 0; the other ranks get the cell and no atoms.
///
/// The result does not depend on the number of ranks: atoms are sorted and wrapped into the cell,
/// with a tolerance that keeps an atom on a face from jumping through it by rounding.
/// `grades` holds one number per local atom.
Configuration gather_configuration(LAMMPS_NS::LAMMPS* lmp, const double* grades);

}  // namespace pescape
