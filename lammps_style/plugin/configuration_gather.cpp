#include "configuration_gather.hpp"

#include <mpi.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "atom.h"
#include "comm.h"
#include "domain.h"
#include "lammps.h"

namespace pescape {
namespace {

/// Fraction of a cell vector by which an atom may lie outside before it is wrapped.
constexpr double face_tolerance = 1e-9;

using Packed = std::array<double, 10>;

std::vector<Packed> pack_atoms(const LAMMPS_NS::Atom& atom, const double* grades) {
  std::vector<Packed> packed;
  for (int i = 0; i < atom.nlocal; ++i) {
    const double *x = atom.x[i], *v = atom.v[i];
    const double mass = atom.rmass ? atom.rmass[i] : atom.mass[atom.type[i]];
    packed.push_back({double(atom.tag[i]), double(atom.type[i]), x[0], x[1], x[2], v[0], v[1], v[2],
                      mass, grades[i]});
  }
  return packed;
}

std::vector<Packed> gather(const std::vector<Packed>& mine, int me, int ranks, MPI_Comm world) {
  constexpr int width = int(std::tuple_size<Packed>::value);
  const int count = int(mine.size()) * width;
  std::vector<int> counts(ranks), starts(ranks, 0);
  MPI_Gather(&count, 1, MPI_INT, counts.data(), 1, MPI_INT, 0, world);
  for (int rank = 1; rank < ranks; ++rank) starts[rank] = starts[rank - 1] + counts[rank - 1];
  std::vector<Packed> all(me == 0 ? std::size_t(starts.back() + counts.back()) / width : 0);
  MPI_Gatherv(reinterpret_cast<const double*>(mine.data()), count, MPI_DOUBLE,
              reinterpret_cast<double*>(all.data()), counts.data(), starts.data(), MPI_DOUBLE, 0,
              world);
  return all;
}

/// The cell as LAMMPS works with it: the first vector along x, the second in the xy plane.
void set_cell(const LAMMPS_NS::Domain& box, Configuration& c) {
  const double rows[3][3] = {
      {box.prd[0], 0.0, 0.0},
      {box.triclinic ? box.xy : 0.0, box.prd[1], 0.0},
      {box.triclinic ? box.xz : 0.0, box.triclinic ? box.yz : 0.0, box.prd[2]}};
  for (int k = 0; k < 3; ++k) {
    std::copy_n(rows[k], 3, c.cell[k]);
    c.origin[k] = box.boxlo[k];
    c.periodic[k] = box.periodicity[k] != 0;
  }
}

void wrap(const Configuration& c, double* r) {
  for (int k = 2; k >= 0; --k) {
    if (!c.periodic[k]) continue;
    // Fraction along vector k, given that the cell is lower triangular.
    double s[3];
    for (int m = 2; m >= 0; --m) {
      s[m] = r[m];
      for (int n = m + 1; n < 3; ++n) s[m] -= s[n] * c.cell[n][m];
      s[m] /= c.cell[m][m];
    }
    const double turns = std::floor(s[k] + face_tolerance);
    if (turns != 0.0)
      for (int axis = 0; axis < 3; ++axis) r[axis] -= turns * c.cell[k][axis];
  }
}

/// Turns everything back into the orientation the user gave a general triclinic cell.
void restore_orientation([[maybe_unused]] LAMMPS_NS::Domain& box,
                         [[maybe_unused]] Configuration& c) {
#if PESCAPE_LAMMPS_VERSION >= 20240417
  if (!box.triclinic_general) return;
  for (auto& row : c.cell) box.restricted_to_general_vector(row);
  for (AtomRecord& atom : c.atoms) {
    box.restricted_to_general_vector(atom.position);
    box.restricted_to_general_vector(atom.velocity);
  }
#endif
}

}  // namespace

Configuration gather_configuration(LAMMPS_NS::LAMMPS* lmp, const double* grades) {
  Configuration c;
  set_cell(*lmp->domain, c);
  const std::vector<Packed> mine = pack_atoms(*lmp->atom, grades);
  for (const Packed& p : gather(mine, lmp->comm->me, lmp->comm->nprocs, lmp->world)) {
    AtomRecord record{(long long)(p[0]),  int(p[1]), {p[2], p[3], p[4]},
                      {p[5], p[6], p[7]}, p[8],      p[9]};
    for (int axis = 0; axis < 3; ++axis) record.position[axis] -= c.origin[axis];
    wrap(c, record.position);
    c.atoms.push_back(record);
  }
  std::sort(c.atoms.begin(), c.atoms.end(),
            [](const AtomRecord& a, const AtomRecord& b) { return a.id < b.id; });
  restore_orientation(*lmp->domain, c);
  return c;
}

}  // namespace pescape
