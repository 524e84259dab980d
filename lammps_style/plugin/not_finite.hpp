// The end of a run whose atoms or forces are no longer numbers.
#pragma once

namespace LAMMPS_NS {
class LAMMPS;
class NeighList;
}  // namespace LAMMPS_NS

namespace pescape {

/// Ends the run on all ranks with one message if any position or force on any of them is not a
/// number. Every step pays one small reduction for it, as it does for the decision to rebuild
/// neighbour lists.
void stop_if_not_finite(LAMMPS_NS::LAMMPS* lmp, const LAMMPS_NS::NeighList& list,
                        const char* style);

}  // namespace pescape
