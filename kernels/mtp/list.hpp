// Neighbour lists as arrays: what the Python module asks of moment tensor potentials.
#pragma once

#include <cstdint>
#include <vector>

#include "atoms.hpp"
#include "mtp/derivatives.hpp"
#include "mtp/evaluate.hpp"

namespace pescape::mtp {

template <class T>
void evaluate(const Plan<T>& plan, const ListedAtoms& atoms, int threads, const EnergyForces& out) {
  energies_and_forces(atoms, threads, out, [&](const int* list, int count, ForceSink& sink) {
    Workspace<T> work;
    evaluate(plan, work, list, count, atoms, sink);
  });
}

/// rows[i][p] = dE_i / dtheta_p
template <class T>
void site_gradients(const Plan<T>& plan, const ListedAtoms& atoms, int threads, double* rows) {
  std::fill_n(rows, std::size_t(atoms.listed) * plan.parameter_count(), 0.0);
  parallel_over_atoms(atoms.listed, threads, [&](int, const int* list, int count) {
    GradientSink sink{rows, std::size_t(plan.parameter_count())};
    Workspace<T> work;
    evaluate_with_parameters(plan, work, list, count, atoms, sink);
  });
}

/// See add_weighted_gradient: pair tangents are lambda_j - lambda_i + strain_i . r_ij.
template <class T>
void weighted_gradient(const Plan<T>& plan, const ListedAtoms& atoms, const double* weights,
                       const double* displacements, const double* strains, int threads,
                       double* out) {
  const std::size_t size = plan.parameter_count();
  std::vector<std::vector<double>> parts(threads);
  const auto tangent = [&](int i, int j, const double* d, double* t) {
    const double* strain = strains + 9 * std::size_t(i);
    for (int a = 0; a < 3; ++a)
      t[a] = displacements[3 * std::size_t(j) + a] - displacements[3 * std::size_t(i) + a] +
             strain[3 * a] * d[0] + strain[3 * a + 1] * d[1] + strain[3 * a + 2] * d[2];
  };
  parallel_over_atoms(atoms.listed, threads, [&](int thread, const int* list, int count) {
    parts[thread].assign(size, 0.0);
    DerivativeWorkspace<T> work;
    add_weighted_gradient(
        plan, work, list, count, atoms, [&](int i) { return weights[i]; }, tangent,
        parts[thread].data());
  });
  std::fill_n(out, size, 0.0);
  add_up(parts, out, size);
}

/// Energies, forces and virials of one configuration per unit of each species and moment
/// coefficient.
struct LinearBasis {
  double* energies;  ///< [columns], columns = species + scalar moments
  double* forces;    ///< [3 n][columns]
  double* virials;   ///< [6][columns]
};

template <class T>
void linear_basis(const Plan<T>& plan, const ListedAtoms& atoms, int threads,
                  const LinearBasis& out) {
  const std::size_t n = atoms.count, species = plan.species_count();
  const std::size_t scalars = plan.scalar_moment().size(), columns = species + scalars;
  const std::size_t rows = 1 + 3 * n + 6;
  std::vector<std::vector<double>> parts(threads);
  parallel_over_atoms(atoms.listed, threads, [&](int thread, const int* list, int count) {
    std::vector<double>& part = parts[thread];
    part.assign(rows * columns, 0.0);
    double *energy = part.data(), *force = energy + columns, *virial = force + 3 * n * columns;
    BasisJacobian<T> jacobian(plan);
    for (int k = 0; k < count; ++k) {
      const int i = list[k], zi = atoms.species(i);
      if (zi < 0) continue;
      jacobian.compute(i, atoms);
      energy[zi] += 1.0;
      for (std::size_t s = 0; s < scalars; ++s) energy[species + s] += jacobian.basis(int(s));
      for (int q = 0; q < jacobian.neighbors(); ++q) {
        const std::size_t j = jacobian.index(q);
        for (int a = 0; a < 3; ++a) {
          double* fi = force + (3 * std::size_t(i) + a) * columns + species;
          double* fj = force + (3 * j + a) * columns + species;
          for (std::size_t s = 0; s < scalars; ++s) {
            const double g = jacobian.derivative(int(s), q, a);
            fi[s] += g;
            fj[s] -= g;
          }
        }
        static constexpr int voigt[6][2] = {{0, 0}, {1, 1}, {2, 2}, {1, 2}, {0, 2}, {0, 1}};
        for (int c = 0; c < 6; ++c) {
          double* w = virial + c * columns + species;
          for (std::size_t s = 0; s < scalars; ++s)
            w[s] -= 0.5 * (jacobian.separation(q, voigt[c][0]) *
                               double(jacobian.derivative(int(s), q, voigt[c][1])) +
                           jacobian.separation(q, voigt[c][1]) *
                               double(jacobian.derivative(int(s), q, voigt[c][0])));
        }
      }
    }
  });
  std::vector<double> total(rows * columns, 0.0);
  add_up(parts, total.data(), total.size());
  std::copy_n(total.data(), columns, out.energies);
  std::copy_n(total.data() + columns, 3 * n * columns, out.forces);
  std::copy_n(total.data() + (1 + 3 * n) * columns, 6 * columns, out.virials);
}

}  // namespace pescape::mtp
