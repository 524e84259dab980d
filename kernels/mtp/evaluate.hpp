// Energies, forces and parameter gradients of any set of atoms: the one entry point that the
// Python module and the LAMMPS styles share.
//
// `Neighbors` offers   int species(int i) const          negative: not ours, skipped
//                      for_each(int i, f) const          calls f(j, dx, dy, dz), r_j - r_i in Å;
//                                                        pairs beyond the cut-off are dropped
// `Sink` takes         site_energy(int i, double e)
//                      pair(int i, int j, double dx, double dy, double dz,
//                           double gx, double gy, double gz)          g = dE_i / d(r_j - r_i)
//                      parameters(const int* atoms, int used, const T* b, int stride)
//                                      b[p * stride + lane] = dE_i / dtheta_p of atoms[lane]
#pragma once

#include <vector>

#include "mtp/block.hpp"
#include "mtp/plan.hpp"
#include "mtp/stages.hpp"
#include "simd.hpp"

namespace pescape::mtp {

/// Scratch memory of one thread; it grows to what its first evaluations need and stays.
template <class T>
struct Workspace {
  using V = Pack<T>;
  std::vector<AtomGroup<V::lanes>> pending;  ///< one group in the making per species
  SlotLayout<V::lanes> layout;
  Scratch<V> scratch;
  std::vector<V> parameters;
};

namespace detail {

template <class T>
void load_slots(const Plan<T>& plan, Workspace<T>& work, int zi) {
  using V = Pack<T>;
  Scratch<V>& w = work.scratch;
  const auto& layout = work.layout;
  w.prepare(plan, layout.slots());
  for (int slot = 0; slot < w.slots; ++slot) {
    V x, y, z;
    for (int l = 0; l < V::lanes; ++l) {
      x.v[l] = T(layout.x(slot)[l]);
      y.v[l] = T(layout.y(slot)[l]);
      z.v[l] = T(layout.z(slot)[l]);
    }
    const V r = sqrt(x * x + y * y + z * z);
    const V inverse = V(T(1)) / r;
    V* unit = &w.unit[std::size_t(3 * (slot / slot_group)) * slot_group + slot % slot_group];
    unit[0 * slot_group] = x * inverse;
    unit[1 * slot_group] = y * inverse;
    unit[2 * slot_group] = z * inverse;
    w.inverse_r[slot] = inverse;
    radial_functions<true>(plan, w, slot, zi, layout.species(slot), r);
  }
  clear_padding(plan, w);
}

template <class T, class Sink>
void hand_over(const Plan<T>& plan, const Workspace<T>& work,
               const AtomGroup<Pack<T>::lanes>& group, int zi, Sink& sink) {
  const auto& w = work.scratch;
  const auto& layout = work.layout;
  for (int lane = 0; lane < group.used; ++lane) {
    const int i = group.atoms[lane];
    sink.site_energy(i, plan.species_coeff(zi) + double(w.energy[lane]));
    for (int slot = 0; slot < w.slots; ++slot) {
      const int j = layout.index(slot, lane);
      if (j < 0) continue;
      sink.pair(i, j, layout.x(slot)[lane], layout.y(slot)[lane], layout.z(slot)[lane],
                double(w.gradient[3 * slot][lane]), double(w.gradient[3 * slot + 1][lane]),
                double(w.gradient[3 * slot + 2][lane]));
    }
  }
}

template <bool with_parameters, class T, class Sink>
void evaluate_group(const Plan<T>& plan, Workspace<T>& work, AtomGroup<Pack<T>::lanes>& group,
                    int zi, Sink& sink) {
  using V = Pack<T>;
  work.layout.arrange(group, plan.species_count(), plan.cutoff());
  load_slots(plan, work, zi);
  basic_moments(plan, work.scratch);
  contract(plan, work.scratch);
  energy_and_adjoints(plan, work.scratch);
  pull_slots<true>(plan, work.scratch);
  hand_over(plan, work, group, zi, sink);
  if constexpr (with_parameters) {
    work.parameters.resize(plan.parameter_count());
    parameter_gradient(plan, work.scratch, zi, [&](int s) { return work.layout.species(s); },
                       work.parameters.data());
    sink.parameters(group.atoms, group.used, reinterpret_cast<const T*>(work.parameters.data()),
                    V::lanes);
  }
  group.used = 0;
}

template <bool with_parameters, class T, class Neighbors, class Sink>
void evaluate_atoms(const Plan<T>& plan, Workspace<T>& work, const int* atoms, int count,
                    const Neighbors& neighbors, Sink& sink) {
  work.pending.resize(plan.species_count());
  for (int k = 0; k < count; ++k) {
    const int zi = neighbors.species(atoms[k]);
    if (zi < 0) continue;
    auto& group = work.pending[zi];
    group.add(atoms[k], neighbors, plan.cutoff());
    if (group.used == Pack<T>::lanes) evaluate_group<with_parameters>(plan, work, group, zi, sink);
  }
  for (int zi = 0; zi < plan.species_count(); ++zi)
    if (work.pending[zi].used > 0)
      evaluate_group<with_parameters>(plan, work, work.pending[zi], zi, sink);
}

}  // namespace detail

/// Site energies and pair gradients of the `count` atoms listed in `atoms`.
template <class T, class Neighbors, class Sink>
void evaluate(const Plan<T>& plan, Workspace<T>& work, const int* atoms, int count,
              const Neighbors& neighbors, Sink& sink) {
  detail::evaluate_atoms<false>(plan, work, atoms, count, neighbors, sink);
}

/// The same, and the site energies' gradients with respect to the parameters.
template <class T, class Neighbors, class Sink>
void evaluate_with_parameters(const Plan<T>& plan, Workspace<T>& work, const int* atoms, int count,
                              const Neighbors& neighbors, Sink& sink) {
  detail::evaluate_atoms<true>(plan, work, atoms, count, neighbors, sink);
}

}  // namespace pescape::mtp
