// Neighbour lists as arrays, and the threaded loops over them that the Python module calls.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <numeric>
#include <vector>

namespace pescape {

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

struct ForceSink {
  double* energies;
  double* forces;
  double* virials;
  void site_energy(int i, double e) { energies[i] += e; }
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

/// Adds up what `evaluate(atoms, count, sink)` hands to the sink, for all listed atoms.
template <class Evaluate>
void energies_and_forces(const ListedAtoms& atoms, int threads, const EnergyForces& out,
                         const Evaluate& evaluate) {
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
    ForceSink sink{out.site_energies, f, w};
    evaluate(list, count, sink);
  });
  add_up(forces, out.forces, 3 * n);
  add_up(virials, out.virials, 6 * n);
}

}  // namespace pescape
