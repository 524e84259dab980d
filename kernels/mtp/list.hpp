// Neighbour lists as arrays, and the threaded loops over them that the Python module calls.
#pragma once

#include <omp.h>

#include <array>
#include <cstdint>
#include <exception>
#include <numeric>
#include <vector>

#include "mtp/derivatives.hpp"
#include "mtp/evaluate.hpp"

namespace pescape::mtp {

/// n atoms, of which the first have full neighbour lists: those of i are entries offsets[i] ..
/// offsets[i+1]. Atoms without a list (ghosts) are neighbours only.
struct ListedAtoms {
  int count;
  int listed;
  const double* positions;      ///< [n][3], Å
  const std::int32_t* kinds;    ///< species, one per atom
  const std::int64_t* offsets;  ///< [listed + 1]
  const std::int32_t* indices;
  const double* shifts;  ///< [pair][3], Å: r_ij = x_j + shift - x_i

  int species(int i) const { return kinds[i]; }

  template <class F>
  void for_each(int i, F&& f) const {
    const double* const x = positions;
    const double xi[3] = {x[3 * std::size_t(i)], x[3 * std::size_t(i) + 1],
                          x[3 * std::size_t(i) + 2]};
    const std::int32_t *j = indices + offsets[i], *const end = indices + offsets[i + 1];
    const double* s = shifts + 3 * offsets[i];
    for (; j != end; ++j, s += 3) {
      const double* xj = x + 3 * std::size_t(*j);
      f(*j, xj[0] + s[0] - xi[0], xj[1] + s[1] - xi[1], xj[2] + s[2] - xi[2]);
    }
  }
};

/// Runs body(thread, atoms, count) on contiguous shares of atoms, in an order that depends on the
/// number of threads alone. An exception in a thread is rethrown once all have ended.
template <class Body>
void parallel_over_atoms(int n, int threads, const Body& body) {
  std::vector<int> atoms(n);
  std::iota(atoms.begin(), atoms.end(), 0);
  std::exception_ptr failure;
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    const int team = omp_get_num_threads(), me = omp_get_thread_num();
    const int from = int(std::int64_t(n) * me / team), to = int(std::int64_t(n) * (me + 1) / team);
    try {
      body(me, atoms.data() + from, to - from);
    } catch (...) {
#pragma omp critical
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

/// Adds the threads' private copies into the first one's target.
inline void add_up(const std::vector<std::vector<double>>& parts, double* out, std::size_t size) {
  for (const auto& part : parts)
    if (!part.empty())
      for (std::size_t k = 0; k < size; ++k) out[k] += part[k];
}

struct EnergyForces {
  double* site_energies;  ///< [listed] eV
  double* forces;         ///< [n][3] eV/Å
  double* virials;        ///< [n][6] eV: xx yy zz yz xz xy; half of each pair's to either atom
};

namespace detail {

struct ForceSink {
  double* energies;
  double* forces;
  double* virials;
  void site_energy(int i, double e) { energies[i] = e; }
  void pair(int i, int j, double x, double y, double z, double gx, double gy, double gz) {
    double* fi = forces + 3 * std::size_t(i);
    double* fj = forces + 3 * std::size_t(j);
    fi[0] += gx, fi[1] += gy, fi[2] += gz;
    fj[0] -= gx, fj[1] -= gy, fj[2] -= gz;
    const double w[6] = {-0.5 * x * gx,
                         -0.5 * y * gy,
                         -0.5 * z * gz,
                         -0.25 * (y * gz + z * gy),
                         -0.25 * (x * gz + z * gx),
                         -0.25 * (x * gy + y * gx)};
    double* wi = virials + 6 * std::size_t(i);
    double* wj = virials + 6 * std::size_t(j);
    for (int c = 0; c < 6; ++c) wi[c] += w[c], wj[c] += w[c];
  }
};

struct GradientSink {
  double* rows;
  std::size_t size;
  void site_energy(int, double) {}
  void pair(int, int, double, double, double, double, double, double) {}
  template <class T>
  void parameters(const int* atoms, int used, const T* b, int stride) {
    for (int l = 0; l < used; ++l)
      for (std::size_t p = 0; p < size; ++p) rows[atoms[l] * size + p] = double(b[p * stride + l]);
  }
};

}  // namespace detail

template <class T>
void evaluate(const Plan<T>& plan, const ListedAtoms& atoms, int threads, const EnergyForces& out) {
  const std::size_t n = atoms.count;
  std::fill_n(out.site_energies, atoms.listed, 0.0);
  std::fill_n(out.forces, 3 * n, 0.0);
  std::fill_n(out.virials, 6 * n, 0.0);
  std::vector<std::vector<double>> forces(threads), virials(threads);
  parallel_over_atoms(atoms.listed, threads, [&](int thread, const int* list, int count) {
    double *f = out.forces, *w = out.virials;
    if (thread > 0) {
      forces[thread].assign(3 * n, 0.0);
      virials[thread].assign(6 * n, 0.0);
      f = forces[thread].data(), w = virials[thread].data();
    }
    detail::ForceSink sink{out.site_energies, f, w};
    Workspace<T> work;
    evaluate(plan, work, list, count, atoms, sink);
  });
  add_up(forces, out.forces, 3 * n);
  add_up(virials, out.virials, 6 * n);
}

/// rows[i][p] = dE_i / dtheta_p
template <class T>
void site_gradients(const Plan<T>& plan, const ListedAtoms& atoms, int threads, double* rows) {
  std::fill_n(rows, std::size_t(atoms.listed) * plan.parameter_count(), 0.0);
  parallel_over_atoms(atoms.listed, threads, [&](int, const int* list, int count) {
    detail::GradientSink sink{rows, std::size_t(plan.parameter_count())};
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
