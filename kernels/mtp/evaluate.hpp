// Energies, forces and parameter gradients of any set of atoms: the one entry point that the
// Python module and the LAMMPS styles share.
//
// `Neighbors` offers   int species(int i) const          negative: not ours, skipped
//                      for_each(int i, f) const          calls f(j, dx, dy, dz), r_j - r_i in Å;
//                                                        pairs beyond the cut-off are dropped
// `Sink` takes         site_energy(int i, double e)      adds to E_i
//                      pair(int i, int j, double dx, double dy, double dz,
//                           double gx, double gy, double gz)          g = dE_i / d(r_j - r_i)
//                      parameters(const int* atoms, int used, const T* b, int stride)
//                                      b[p * stride + lane] = dE_i / dtheta_p of atoms[lane]
#pragma once

#include <algorithm>
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
  std::vector<Neighborhoods<V::lanes>> pending;  ///< those in the making, one per centre species
  Scratch<V> scratch;
  std::vector<V> parameters;
};

/// Gathers the atoms in full lanes by species and calls finish(neighbourhoods, species) on each.
template <int lanes, class List, class Finish>
void for_each_group(std::vector<Neighborhoods<lanes>>& pending, int species_count, double cutoff,
                    const int* atoms, int count, const List& list, Finish&& finish) {
  pending.resize(species_count);
  for (auto& group : pending) group.clear(species_count);
  const auto complete = [&](int zi) {
    pending[zi].finish(cutoff);
    finish(pending[zi], zi);
    pending[zi].clear(species_count);
  };
  for (int k = 0; k < count; ++k) {
    const int zi = list.species(atoms[k]);
    if (zi < 0) continue;
    pending[zi].add(atoms[k], list, cutoff);
    if (pending[zi].full()) complete(zi);
  }
  for (int zi = 0; zi < species_count; ++zi)
    if (pending[zi].used() > 0) complete(zi);
}

namespace detail {

template <bool saturating, class T, class Group>
void load_slots(const Plan<T>& plan, Scratch<Pack<T>>& w, const Group& group, int zi) {
  using V = Pack<T>;
  w.prepare(plan, group.slots());
  const Crowding* const crowding = plan.crowding();
  if (crowding) w.density.assign(plan.species_count(), V(T(0)));
  for (int slot = 0; slot < w.slots; ++slot) {
    V r[3];
    for (int axis = 0; axis < 3; ++axis) r[axis] = V::convert(group.position(slot, axis));
    const V r2 = r[0] * r[0] + r[1] * r[1] + r[2] * r[2], length = sqrt(r2);
    if (crowding) w.density[group.species(slot)] += crowding->weight<T>(r2);
    const V inverse = V(T(1)) / length;
    V* unit = &w.unit[std::size_t(3 * (slot / slot_group)) * slot_group + slot % slot_group];
    for (int axis = 0; axis < 3; ++axis) unit[axis * slot_group] = r[axis] * inverse;
    w.inverse_r[slot] = inverse;
    radial_functions<true, saturating>(plan, w, slot, zi, group.species(slot), length);
  }
  clear_padding(plan, w);
}

template <class T, class Group, class Sink>
void scatter(const Plan<T>& plan, const Scratch<Pack<T>>& w, const Group& group, int zi,
             Sink& sink) {
  for (int lane = 0; lane < group.used(); ++lane) {
    const int i = group.atom(lane);
    sink.site_energy(i, plan.species_coeff(zi) + double(w.energy[lane]));
    for (int slot = 0; slot < w.slots; ++slot) {
      const int j = group.index(slot, lane);
      if (j < 0) continue;
      const auto* g = &w.gradient[3 * std::size_t(slot)];
      sink.pair(i, j, group.position(slot, 0)[lane], group.position(slot, 1)[lane],
                group.position(slot, 2)[lane], double(g[0][lane]), double(g[1][lane]),
                double(g[2][lane]));
    }
  }
}

template <class T>
void moments_and_adjoints(const Plan<T>& plan, Scratch<Pack<T>>& w) {
  basic_moments(plan, w);
  contract(plan, w);
  energy_and_adjoints(plan, w);
}

/// Whether any neighbour of any lane is nearer than limit(species of the neighbour), in Å.
template <class T, class Group, class Limit>
bool any_nearer(const Scratch<Pack<T>>& w, const Group& group, const Limit& limit) {
  Pack<T> largest(T(0));
  for (int slot = 0; slot < w.slots; ++slot) {
    const Pack<T> ratio = Pack<T>(T(limit(group.species(slot)))) * w.inverse_r[slot];
    largest = Pack<T>(typename Pack<T>::Register(ratio.v > largest.v ? ratio.v : largest.v));
  }
  return any_less(Pack<T>(T(1)), largest);
}

// Rare work stays out of line, where it does not hinder the compiler with the rest.
template <class T, class Group>
[[gnu::noinline]] void saturate_slots(const Plan<T>& plan, Scratch<Pack<T>>& w, const Group& group,
                                      int zi) {
  load_slots<true>(plan, w, group, zi);
}

template <class T, class Group, class Sink>
[[gnu::noinline]] void repel(const ZBL& repulsion, const Scratch<Pack<T>>& w, const Group& group,
                             int zi, Sink& sink) {
  for (int slot = 0; slot < w.slots; ++slot) {
    const T limit = T(1.0 / repulsion.outer(zi, group.species(slot)));
    if (!any_less(Pack<T>(limit), w.inverse_r[slot])) continue;
    repulsion.repel<Pack<double>>(
        zi, group.species(slot), Pack<T>::lanes, group.position(slot, 0), group.position(slot, 1),
        group.position(slot, 2), [&](int lane) { return group.atom(lane); },
        [&](int lane) { return lane < group.used() ? group.index(slot, lane) : -1; }, sink);
  }
}

/// Fades energies of crowded atoms and their gradients, and adds the wall.
template <class T, class Group>
[[gnu::noinline]] void fade(const Plan<T>& plan, Scratch<Pack<T>>& w, const Group& group, int zi) {
  const Crowding& crowding = *plan.crowding();
  const int species = plan.species_count();
  std::vector<double> rho(species), slopes(species);
  for (int lane = 0; lane < group.used(); ++lane) {
    for (int zj = 0; zj < species; ++zj) rho[zj] = double(w.density[zj][lane]);
    const auto at = crowding.response(zi, rho.data(), double(w.energy[lane]));
    if (at.excess == 0.0) continue;
    for (int zj = 0; zj < species; ++zj)
      slopes[zj] = at.slope * crowding.excess_slope(zi, zj, rho[zj]);
    w.energy.set(lane, T(at.energy));
    for (int slot = 0; slot < w.slots; ++slot) {
      double d[3];
      for (int axis = 0; axis < 3; ++axis) d[axis] = group.position(slot, axis)[lane];
      const double slope =
          slopes[group.species(slot)] * crowding.slope(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
      for (int axis = 0; axis < 3; ++axis) {
        Pack<T>& g = w.gradient[3 * std::size_t(slot) + axis];
        g.set(lane, T(at.fitted * double(g[lane]) + slope * d[axis]));
      }
    }
  }
}

/// Whether any atom of the group is surrounded more densely than the training data.
template <class T>
bool any_crowded(const Plan<T>& plan, const Scratch<Pack<T>>& w, int zi) {
  bool found = false;
  for (int zj = 0; zj < plan.species_count(); ++zj)
    found |= any_less(Pack<T>(T(plan.crowding()->limit(zi, zj))), w.density[zj]);
  return found;
}

template <bool with_parameters, class T, class List, class Sink>
void evaluate_atoms(const Plan<T>& plan, Workspace<T>& work, const int* atoms, int count,
                    const List& list, Sink& sink) {
  using V = Pack<T>;
  Scratch<V>& w = work.scratch;
  for_each_group(
      work.pending, plan.species_count(), plan.cutoff(), atoms, count, list,
      [&](const Neighborhoods<V::lanes>& group, int zi) {
        load_slots<false>(plan, w, group, zi);
        const auto nearer = [&](auto&& limit) { return any_nearer(w, group, limit); };
        const bool near = plan.saturates() && nearer([&](int zj) { return plan.reach(zi, zj); });
        const bool saturated = near && nearer([&](int zj) { return plan.nearest(zi, zj); });
        if (saturated) saturate_slots(plan, w, group, zi);
        moments_and_adjoints(plan, w);
        backward_slots<true>(plan, w);
        if (plan.crowding() && any_crowded(plan, w, zi)) fade(plan, w, group, zi);
        scatter(plan, w, group, zi, sink);
        if (near && plan.repulsion()) repel(*plan.repulsion(), w, group, zi, sink);
        if constexpr (with_parameters) {
          if (saturated) {
            // Grades have to tell how near neighbours are.
            load_slots<false>(plan, w, group, zi);
            moments_and_adjoints(plan, w);
            backward_slots<false>(plan, w);
          }
          work.parameters.resize(plan.parameter_count());
          parameter_gradient(plan, w, zi, group, work.parameters.data());
          sink.parameters(group.atoms(), group.used(),
                          reinterpret_cast<const T*>(work.parameters.data()), V::lanes);
        }
      });
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
