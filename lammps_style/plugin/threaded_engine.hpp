// The threads, tallies and grades of every potential.
//
// Unnamed on purpose: each engine that includes this has its own copy, which the compiler inlines
// as code that nobody else calls (3 % of a small potential's time).
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "engine.hpp"
#include "lmptype.h"

namespace pescape {
namespace {

/// Rows of dE_i/dtheta that are graded together: enough for the matrix product to be bound by
/// arithmetic, since the inverse is read once for all of them.
constexpr std::size_t graded_rows = GradeMatrix::chunk_rows;

struct ListNeighbors {
  const AtomView& atoms;

  int species(int i) const { return atoms.species_of_type[atoms.type[i]]; }

  template <class F>
  void for_each(int i, F&& f) const {
    const double *xi = atoms.x[i], *const *x = atoms.x;
    const int* neighbors = atoms.firstneigh[i];
    for (int k = 0, n = atoms.numneigh[i]; k < n; ++k) {
      const int j = neighbors[k] & NEIGHMASK;
      f(j, x[j][0] - xi[0], x[j][1] - xi[1], x[j][2] - xi[2]);
    }
  }
};

/// The number's nearest multiple of 2^-44 (6e-14 eV/Å).
///
/// Sums of such multiples are exact up to 512 eV/Å, and so do not depend on the order of their
/// terms: forces, and with them trajectories, are the same bit by bit on any number of ranks and
/// threads.
inline double on_grid(double force) {
  constexpr double shift = 384.0;  // a double between 256 and 512 is a multiple of 2^-44
  return (force + shift) - shift;
}

/// Adds what the kernel hands over to the arrays of one thread.
struct TallySink {
  Tally tally;

  void site_energy(int i, double energy) {
    tally.energy += energy;
    if (tally.site_energies) tally.site_energies[i] += energy;
  }

  void pair(int i, int j, double dx, double dy, double dz, double gx, double gy, double gz) {
    double *fi = tally.forces + 3 * std::size_t(i), *fj = tally.forces + 3 * std::size_t(j);
    gx = on_grid(gx), gy = on_grid(gy), gz = on_grid(gz);
    fi[0] += gx, fi[1] += gy, fi[2] += gz;
    fj[0] -= gx, fj[1] -= gy, fj[2] -= gz;
    if (tally.wants_virial) add_virials(i, j, {dx, dy, dz}, {gx, gy, gz});
  }

 private:
  struct Vector {
    double x, y, z;
  };

  void add_virials(int i, int j, Vector d, Vector g) {
    const double w[9] = {-d.x * g.x, -d.y * g.y, -d.z * g.z, -d.x * g.y, -d.x * g.z,
                         -d.y * g.z, -d.y * g.x, -d.z * g.x, -d.z * g.y};
    for (int k = 0; k < 6; ++k) tally.virial[k] += w[k];
    if (tally.virials)
      for (int atom : {i, j})
        for (int k = 0; k < 6; ++k) tally.virials[6 * std::size_t(atom) + k] += 0.5 * w[k];
    if (tally.centroid_virials)
      for (int k = 0; k < 9; ++k) tally.centroid_virials[9 * std::size_t(j) + k] += w[k];
  }
};

/// A tally sink that also collects dE_i/dtheta and grades it, many atoms at a time.
template <class T>
struct GradingSink : TallySink {
  const Grading& grading;
  int parameter_count;
  std::vector<double>& rows;  ///< graded_rows x parameter_count, or one row that sums
  std::vector<int> owners;

  GradingSink(const Tally& t, const Grading& g, int count, std::vector<double>& scratch)
      : TallySink{t}, grading(g), parameter_count(count), rows(scratch) {
    rows.assign((grading.grades ? graded_rows : 1) * parameter_count, 0.0);
  }

  void parameters(const int* atoms, int used, const T* b, int stride) {
    if (!grading.grades) {
      for (int p = 0; p < parameter_count; ++p)
        for (int lane = 0; lane < used; ++lane)
          rows[p] += double(b[std::size_t(p) * stride + lane]);
      return;
    }
    for (int lane = 0; lane < used; ++lane) {
      double* row = &rows[owners.size() * parameter_count];
      for (int p = 0; p < parameter_count; ++p) row[p] = double(b[std::size_t(p) * stride + lane]);
      owners.push_back(atoms[lane]);
      if (owners.size() == graded_rows) flush();
    }
  }

  void range_excess(int i, double excess) {
    if (grading.range_excess) grading.range_excess[i] = excess;
  }

  void flush() {
    double grades[graded_rows];
    grading.matrix->grades(rows.data(), owners.size(), grades);
    for (std::size_t r = 0; r < owners.size(); ++r) grading.grades[owners[r]] = grades[r];
    owners.clear();
  }
};

/// The arrays of one thread other than the first, which adds to LAMMPS' own.
struct ThreadArrays {
  std::vector<double> forces, virials, centroid_virials;

  Tally zeroed(const Tally& shared, int nall) {
    Tally mine = shared;
    const auto clear = [nall](std::vector<double>& array, const double* wanted, int width) {
      array.assign(wanted ? std::size_t(nall) * width : 0, 0.0);
      return wanted ? array.data() : nullptr;
    };
    mine.forces = clear(forces, shared.forces, 3);
    mine.virials = clear(virials, shared.virials, 6);
    mine.centroid_virials = clear(centroid_virials, shared.centroid_virials, 9);
    return mine;
  }
};

/// An engine of a potential that is evaluated as in mtp/evaluate.hpp. A `Potential` has
///   Real, Workspace                      the type of its parameter gradients; a thread's scratch
///   parameter_count()
///   evaluate(workspace, atoms, count, neighbors, sink)
///   evaluate_with_parameters(workspace, atoms, count, neighbors, sink)
template <class Potential>
class ThreadedEngine : public Engine {
 public:
  template <class... Arguments>
  explicit ThreadedEngine(const Arguments&... arguments) : potential_(arguments...) {}

  void evaluate(const AtomView& atoms, int threads, Tally& tally) override {
    run(atoms, threads, tally, [&](int t, const int* mine, int count, Tally& own) {
      TallySink sink{own};
      potential_.evaluate(workspaces_[t], mine, count, ListNeighbors{atoms}, sink);
      own = sink.tally;
    });
  }

  void evaluate_graded(const AtomView& atoms, int threads, Tally& tally,
                       const Grading& grading) override {
    const int parameters = potential_.parameter_count();
    rows_.resize(std::max<std::size_t>(rows_.size(), threads));
    run(atoms, threads, tally, [&](int t, const int* mine, int count, Tally& own) {
      GradingSink<typename Potential::Real> sink(own, grading, parameters, rows_[t]);
      potential_.evaluate_with_parameters(workspaces_[t], mine, count, ListNeighbors{atoms}, sink);
      if (grading.grades) sink.flush();
      own = sink.tally;
    });
    if (grading.grades) return;
    std::fill_n(grading.gradient_sum, parameters, 0.0);
    for (int t = 0; t < threads; ++t)
      for (int p = 0; p < parameters; ++p) grading.gradient_sum[p] += rows_[t][p];
  }

  double memory_usage() const override {
    std::size_t numbers = 0;
    for (const ThreadArrays& a : arrays_)
      numbers += a.forces.size() + a.virials.size() + a.centroid_virials.size();
    for (const auto& rows : rows_) numbers += rows.size();
    return double(numbers) * sizeof(double);
  }

 private:
  /// Gives each thread a contiguous share of the atoms (always the same one, so that a run can be
  /// repeated bit by bit) and adds up what they return.
  template <class Work>
  void run(const AtomView& atoms, int threads, Tally& tally, const Work& work) {
    workspaces_.resize(std::max<std::size_t>(workspaces_.size(), threads));
    arrays_.resize(std::max<std::size_t>(arrays_.size(), threads));
    std::vector<Tally> parts(threads, tally);
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
    for (int t = 0; t < threads; ++t) {
      if (t > 0) parts[t] = arrays_[t].zeroed(tally, atoms.nall);
      const int first = int((long long)(atoms.inum) * t / threads);
      const int last = int((long long)(atoms.inum) * (t + 1) / threads);
      work(t, atoms.ilist + first, last - first, parts[t]);
    }
    for (const Tally& part : parts) {
      tally.energy += part.energy;
      for (int k = 0; k < 6; ++k) tally.virial[k] += part.virial[k];
    }
    if (threads > 1) add_up(parts, atoms.nall, threads);
  }

  static void add_up(const std::vector<Tally>& parts, int nall, int threads) {
    const auto add = [&](double* Tally::* array, int width) {
      if (!(parts[0].*array)) return;
      const std::ptrdiff_t size = std::ptrdiff_t(nall) * width;
#pragma omp parallel for num_threads(threads) schedule(static)
      for (std::ptrdiff_t k = 0; k < size; ++k)
        for (int t = 1; t < threads; ++t) (parts[0].*array)[k] += (parts[t].*array)[k];
    };
    add(&Tally::forces, 3);
    add(&Tally::virials, 6);
    add(&Tally::centroid_virials, 9);
  }

  Potential potential_;
  std::vector<typename Potential::Workspace> workspaces_;
  std::vector<ThreadArrays> arrays_;
  std::vector<std::vector<double>> rows_;
};

}  // namespace
}  // namespace pescape
