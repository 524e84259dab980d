// Neighbour lists as arrays: what the Python module asks of Behler-Parrinello networks.
#pragma once

#include <vector>

#include "atoms.hpp"
#include "bpnn/evaluate.hpp"

namespace pescape::bpnn {

inline void evaluate(const Plan& plan, const ListedAtoms& atoms, int threads,
                     const EnergyForces& out) {
  energies_and_forces(atoms, threads, out, [&](const int* list, int count, ForceSink& sink) {
    Workspace work;
    evaluate(plan, work, list, count, atoms, sink);
  });
}

/// The rows of all atoms, one after the other.
inline void site_gradients(const Plan& plan, const ListedAtoms& atoms, Parameters which,
                           int threads, double* rows) {
  const std::size_t size = plan.row_size(which);
  std::fill_n(rows, std::size_t(atoms.listed) * size, 0.0);
  parallel_over_atoms(atoms.listed, threads, [&](int, const int* list, int count) {
    Workspace work;
    for (int a = 0; a < count; ++a) {
      const int i = list[a], species = atoms.species(i);
      if (species < 0) continue;
      const ElementPlan& element = plan.element(species);
      detail::describe(plan, element, work, i, atoms);
      detail::site_energy(element, work);
      const double* row = detail::parameter_row(plan, element, species, which, work);
      std::copy_n(row, size, rows + i * size);
    }
  });
}

/// The neighbours of one atom at a time, named by their place in the list.
struct ListedPairs {
  const ListedAtoms& atoms;

  int species(int pair) const { return atoms.kinds[atoms.indices[pair]]; }

  template <class F>
  void for_each(int i, F&& f) const {
    int pair = int(atoms.offsets[i]);
    atoms.for_each(i, [&](int, double x, double y, double z) { f(pair++, x, y, z); });
  }
};

/// functions[i][f] = G_f of atom i, not scaled; rows are as long as the longest, ended by zeros.
/// derivatives[pair][f][axis] = dG_f / d(r_j - r_i), 1/Å, for every listed pair; may be null.
inline void symmetry_functions(const Plan& plan, const ListedAtoms& atoms, int threads,
                               double* functions, double* derivatives) {
  const std::size_t width = plan.most_functions();
  std::fill_n(functions, std::size_t(atoms.listed) * width, 0.0);
  if (derivatives)
    std::fill_n(derivatives, 3 * std::size_t(atoms.offsets[atoms.listed]) * width, 0.0);
  parallel_over_atoms(atoms.listed, threads, [&](int, const int* list, int count) {
    Workspace work;
    JacobianScratch scratch;
    for (int a = 0; a < count; ++a) {
      const int i = list[a], species = atoms.species(i);
      if (species < 0) continue;
      const ElementPlan& element = plan.element(species);
      detail::describe(plan, element, work, i, ListedPairs{atoms});
      std::copy(work.functions.begin(), work.functions.end(), functions + i * width);
      if (!derivatives) continue;
      for_each_derivative(element, work, scratch, [&](int f, int k, const double* g) {
        double* out = derivatives + 3 * (std::size_t(work.hood.index[k]) * width + f);
        for (int axis = 0; axis < 3; ++axis) out[axis] += g[axis];
      });
    }
  });
}

}  // namespace pescape::bpnn
