#include "not_finite.hpp"

#include <mpi.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "lammps.h"
#include "neigh_list.h"
#include "update.h"

namespace pescape {
namespace {

/// Written without branches, so that it runs at the speed of memory.
bool all_finite(const double* numbers, std::size_t size) {
  constexpr std::uint64_t exponent = 0x7ff0000000000000;
  std::uint64_t found = 0;
  for (std::size_t k = 0; k < size; ++k) {
    std::uint64_t bits;
    std::memcpy(&bits, numbers + k, sizeof bits);
    found |= std::uint64_t((bits & exponent) == exponent);
  }
  return found == 0;
}

bool is_finite(const double* v) { return all_finite(v, 3); }

/// An atom whose position or force is not a number; -1 if there is none.
int find_not_finite(const LAMMPS_NS::Atom& atom) {
  const int nlocal = atom.nlocal, nall = nlocal + atom.nghost;
  if (nall == 0) return -1;
  double **x = atom.x, **f = atom.f;
  if (all_finite(x[0], 3 * std::size_t(nlocal)) && all_finite(f[0], 3 * std::size_t(nall)))
    return -1;
  for (int i = 0; i < nlocal; ++i)
    if (!is_finite(x[i])) return i;
  int i = 0;
  while (is_finite(f[i])) ++i;
  return i;
}

/// What a message says about the closest atoms of the list.
std::string closest_pair(const LAMMPS_NS::Atom& atom, const LAMMPS_NS::NeighList& list) {
  double** x = atom.x;
  double closest = std::numeric_limits<double>::infinity();
  std::string pair;
  for (int k = 0; k < list.inum; ++k) {
    const int i = list.ilist[k];
    for (int n = 0; n < list.numneigh[i]; ++n) {
      const int j = list.firstneigh[i][n] & NEIGHMASK;
      const double r = std::hypot(x[j][0] - x[i][0], x[j][1] - x[i][1], x[j][2] - x[i][2]);
      if (!(r < closest)) continue;
      closest = r;
      pair = std::to_string(atom.tag[i]) + " and " + std::to_string(atom.tag[j]);
    }
  }
  if (pair.empty()) return "";
  return "; the closest atoms there, " + pair + ", are " + std::to_string(closest) + " Å apart";
}

}  // namespace

void stop_if_not_finite(LAMMPS_NS::LAMMPS* lmp, const LAMMPS_NS::NeighList& list,
                        const char* style) {
  const LAMMPS_NS::Atom& atom = *lmp->atom;
  const int culprit = find_not_finite(atom), ranks = lmp->comm->nprocs;
  int mine = culprit < 0 ? ranks : lmp->comm->me, first = mine;
  if (ranks > 1) MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, lmp->world);
  if (first == ranks) return;
  std::string message;
  if (mine == first)
    message = std::string("pair_style ") + style + ": the " +
              (is_finite(atom.x[culprit]) ? "force on" : "position of") + " atom " +
              std::to_string(atom.tag[culprit]) + " is not finite at step " +
              std::to_string(lmp->update->ntimestep) + closest_pair(atom, list) +
              ". The dynamics has left what the potential can describe: a shorter time step or "
              "fix extrapolation would stop it earlier";
  int size = int(message.size());
  MPI_Bcast(&size, 1, MPI_INT, first, lmp->world);
  message.resize(std::size_t(size));
  MPI_Bcast(&message[0], size, MPI_CHAR, first, lmp->world);
  lmp->error->all(FLERR, message);
}

}  // namespace pescape
