// The stages of one evaluation, each for a few atoms at once (one per SIMD lane).
//
// V is Pack<T> for energies and forces, Dual<Pack<T>> where the derivative of everything along one
// displacement of the atoms is wanted too. Formulas: Shapeev, Multiscale Model. Simul. 14, 1153
// (2016); Novikov et al., Mach. Learn.: Sci. Technol. 2, 025002 (2021).
#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#include "mtp/plan.hpp"
#include "mtp/radial.hpp"
#include "simd.hpp"

namespace pescape::mtp {

/// Slots are worked on in groups of this many, so that a moment is loaded and stored once for all.
inline constexpr int slot_group = 4;

/// Scratch of one thread. Slot counts are rounded up to whole groups; the rest is zero.
template <class V>
struct Scratch {
  int slots = 0, groups = 0;
  std::vector<V> unit;       ///< [group][axis][slot in group]: components of the unit vectors
  std::vector<V> inverse_r;  ///< [slot]
  std::vector<V> radial, radial_slope;  ///< [group][channel][slot in group]: f and df/dr
  std::vector<V> basis;                 ///< [slot][n]: phi_n, kept for parameter gradients
  std::vector<V> channel_adjoint;       ///< [group][channel][slot in group]: dE/df
  std::vector<V> monomial;              ///< [group][monomial][slot in group]
  std::vector<V> monomial_adjoint;      ///< [monomial][slot in group]
  std::vector<V> moment, adjoint;       ///< M and dE/dM
  std::vector<V> slope;                 ///< derivatives of phi_n of one slot
  std::vector<V> gradient;              ///< [slot][axis]: dE/dr_ij
  std::vector<V> density;               ///< [species]: see Crowding, where the plan has one
  V energy;

  template <class P>
  void prepare(const P& plan, int slot_count) {
    slots = slot_count;
    groups = (slots + slot_group - 1) / slot_group;
    const std::size_t padded = std::size_t(groups) * slot_group;
    grow(unit, 3 * padded);
    grow(inverse_r, padded);
    grow(radial, padded * plan.radial_channels());
    grow(radial_slope, padded * plan.radial_channels());
    grow(channel_adjoint, padded * plan.radial_channels());
    grow(basis, padded * plan.radial_size());
    grow(slope, plan.radial_size());
    grow(monomial, padded * plan.monomials_count());
    grow(monomial_adjoint, std::size_t(plan.monomials_count()) * slot_group);
    grow(moment, plan.moments_count());
    grow(adjoint, plan.moments_count());
    grow(gradient, 3 * padded);
  }

 private:
  static void grow(std::vector<V>& v, std::size_t n) {
    if (v.size() < n) v.resize(n);
  }
};

/// f_mu of one slot; the slopes too where forces are wanted.
template <bool with_slope, bool saturating, class P, class V>
PESCAPE_INLINE void radial_functions(const P& plan, Scratch<V>& w, int slot, int zi, int zj, V r) {
  using T = typename Numeric<V>::Scalar;
  const int size = plan.radial_size(), channels = plan.radial_channels();
  const T* coeffs = plan.radial_coeffs(zi, zj);
  V* phi = &w.basis[std::size_t(slot) * size];
  V* slope = w.slope.data();
  radial_basis<saturating>(plan, plan.nearest(zi, zj), r, phi, with_slope ? slope : nullptr);
  const std::size_t at = std::size_t(slot / slot_group) * channels * slot_group + slot % slot_group;
  for (int mu = 0; mu < channels; ++mu, coeffs += size) {
    V f = scale(coeffs[0], phi[0]), df = f;
    if (with_slope) df = scale(coeffs[0], slope[0]);
    for (int n = 1; n < size; ++n) {
      f += scale(coeffs[n], phi[n]);
      if (with_slope) df += scale(coeffs[n], slope[n]);
    }
    w.radial[at + mu * slot_group] = f;
    if (with_slope) w.radial_slope[at + mu * slot_group] = df;
  }
}

/// Slots that only fill the last group.
template <class P, class V>
void clear_padding(const P& plan, Scratch<V>& w) {
  const int channels = plan.radial_channels();
  for (int slot = w.slots; slot < w.groups * slot_group; ++slot) {
    const int g = slot / slot_group, k = slot % slot_group;
    for (int axis = 0; axis < 3; ++axis) w.unit[(3 * g + axis) * slot_group + k] = V(0);
    for (int mu = 0; mu < channels; ++mu) w.radial[(g * channels + mu) * slot_group + k] = V(0);
  }
}

/// All monomials of the unit vectors of one group of slots.
template <class P, class V>
void monomials(const P& plan, Scratch<V>& w, int group) {
  V* const mono = &w.monomial[std::size_t(group) * plan.monomials_count() * slot_group];
  for (int s = 0; s < slot_group; ++s) mono[s] = V(1);
  for (int axis = 0; axis < 3; ++axis) {
    V n[slot_group];
    std::copy_n(&w.unit[std::size_t(3 * group + axis) * slot_group], slot_group, n);
    for (const Monomial m : plan.monomials(axis))
      for (int s = 0; s < slot_group; ++s)
        mono[m.index * slot_group + s] = mono[m.parent * slot_group + s] * n[s];
  }
}

/// moment[mu, monomial] += f_mu * monomial over one group of slots, for C channels.
template <int C, class V>
void add_moments(const ChannelRun& run, const int* start, const V* f, const V* mono, V* moment) {
  V weight[C][slot_group];
  for (int c = 0; c < C; ++c)
    for (int s = 0; s < slot_group; ++s) weight[c][s] = f[(run.channel + c) * slot_group + s];
  for (int m = run.first; m < run.last; ++m) {
    V* const out = moment + start[m] + run.channel;
    const V* const x = mono + m * slot_group;
    for (int c = 0; c < C; ++c) {
      V sum = out[c];
      for (int s = 0; s < slot_group; ++s) sum += weight[c][s] * x[s];
      out[c] = sum;
    }
  }
}

/// Reverse of add_moments for slots [from, from + S) of a group: dE/d(monomial) and dE/df.
template <int C, int S, class V>
void backward_moments(const ChannelRun& run, const int* start, const V* f, const V* mono,
                      const V* adjoint, V* mono_adjoint, V* f_adjoint, int from) {
  V weight[C][S], sum[C][S];
  for (int c = 0; c < C; ++c)
    for (int s = 0; s < S; ++s) {
      weight[c][s] = f[(run.channel + c) * slot_group + from + s];
      sum[c][s] = f_adjoint[(run.channel + c) * slot_group + from + s];
    }
  for (int m = run.first; m < run.last; ++m) {
    const V* const d = adjoint + start[m] + run.channel;
    const V* const x = mono + m * slot_group + from;
    V* const out = mono_adjoint + m * slot_group + from;
    V adjoint[S];
    for (int s = 0; s < S; ++s) adjoint[s] = d[0] * weight[0][s];
    for (int s = 0; s < S; ++s) sum[0][s] += d[0] * x[s];
    for (int c = 1; c < C; ++c)
      for (int s = 0; s < S; ++s) {
        adjoint[s] += d[c] * weight[c][s];
        sum[c][s] += d[c] * x[s];
      }
    for (int s = 0; s < S; ++s)
      if (run.channel == 0)
        out[s] = adjoint[s];
      else
        out[s] += adjoint[s];
  }
  for (int c = 0; c < C; ++c)
    for (int s = 0; s < S; ++s) f_adjoint[(run.channel + c) * slot_group + from + s] = sum[c][s];
}

/// Calls f with the channel count of a run as a compile-time constant.
template <class F>
PESCAPE_INLINE void with_channel_count(int count, F&& f) {
  switch (count) {
    case 1:
      return f(std::integral_constant<int, 1>{});
    case 2:
      return f(std::integral_constant<int, 2>{});
    case 3:
      return f(std::integral_constant<int, 3>{});
    case 4:
      return f(std::integral_constant<int, 4>{});
    case 5:
      return f(std::integral_constant<int, 5>{});
    case 6:
      return f(std::integral_constant<int, 6>{});
  }
}

template <class P, class V>
void basic_moments(const P& plan, Scratch<V>& w) {
  std::fill_n(w.moment.begin(), plan.summed_count(), V(0));
  const int stride = plan.radial_channels() * slot_group;
  const int mono_stride = plan.monomials_count() * slot_group;
  for (int g = 0; g < w.groups; ++g) {
    monomials(plan, w, g);
    for (const ChannelRun& run : plan.runs())
      with_channel_count(run.count, [&](auto C) {
        add_moments<C.value>(run, plan.basic_start().data(), &w.radial[std::size_t(g) * stride],
                             &w.monomial[std::size_t(g) * mono_stride], w.moment.data());
      });
  }
  V* const m = w.moment.data();
  for (const DerivedMoment& d : plan.derived())
    m[d.moment] = m[d.one] - m[d.x_squared] - m[d.y_squared];
}

/// The moments beyond the basic ones.
template <class P, class V>
void contract(const P& plan, Scratch<V>& w) {
  V* const m = w.moment.data();
  const int* start = plan.intermediate_start().data();
  const auto* terms = plan.intermediate_terms().data();
  V* out = m + plan.basic_count();
  const int rows = int(plan.intermediate_start().size()) - 1;
  for (int k = 0; k < rows; ++k) {
    V sum(0);
    for (int t = start[k]; t < start[k + 1]; ++t)
      sum += scale(terms[t].weight, m[terms[t].left]) * m[terms[t].right];
    out[k] = sum;
  }
}

/// Energy without the species' constant, and dE/dM of all moments.
template <class P, class V>
void energy_and_adjoints(const P& plan, Scratch<V>& w) {
  using T = typename Numeric<V>::Scalar;
  const V* const m = w.moment.data();
  V* const d = w.adjoint.data();
  std::fill_n(d, plan.moments_count(), V(0));
  V energy(0);
  const int* start = plan.quadratic_start().data();
  const auto* q = plan.quadratic_terms().data();
  const int rows = int(plan.quadratic_row().size());
  for (int k = 0; k < rows; ++k) {
    V sum[4] = {V(0), V(0), V(0), V(0)};
    int t = start[k];
    for (; t + 4 <= start[k + 1]; t += 4)
      for (int u = 0; u < 4; ++u) sum[u] += scale(q[t + u].weight, m[q[t + u].moment]);
    for (; t < start[k + 1]; ++t) sum[0] += scale(q[t].weight, m[q[t].moment]);
    const int row = plan.quadratic_row()[k];
    d[row] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    energy += d[row] * m[row];
  }
  energy = scale(T(0.5), energy);
  for (const auto& term : plan.linear_terms()) {
    energy += scale(term.weight, m[term.moment]);
    d[term.moment] += V(term.weight);
  }
  w.energy = energy;

  const int* rows_start = plan.intermediate_start().data();
  const auto* terms = plan.intermediate_terms().data();
  for (int k = int(plan.intermediate_start().size()) - 2; k >= 0; --k) {
    const V g = d[plan.basic_count() + k];
    for (int t = rows_start[k]; t < rows_start[k + 1]; ++t) {
      const V weighted = scale(terms[t].weight, g);
      d[terms[t].left] += weighted * m[terms[t].right];
      d[terms[t].right] += weighted * m[terms[t].left];
    }
  }
}

/// Passes dE/dM of derived moments on to those that are sums over neighbours.
template <class P, class V>
void backward_derived(const P& plan, Scratch<V>& w) {
  V* const d = w.adjoint.data();
  for (auto m = plan.derived().rbegin(); m != plan.derived().rend(); ++m) {
    d[m->one] += d[m->moment];
    d[m->x_squared] -= d[m->moment];
    d[m->y_squared] -= d[m->moment];
  }
}

/// dE/dn of the unit vectors of a group, from dE/d(monomial), which is used up.
template <class P, class V>
void backward_monomials(const P& plan, Scratch<V>& w, int group, V (&gradient)[3][slot_group]) {
  const V* const mono = &w.monomial[std::size_t(group) * plan.monomials_count() * slot_group];
  V* const adjoint = w.monomial_adjoint.data();
  for (int axis = 2; axis >= 0; --axis) {
    V n[slot_group], sum[slot_group];
    std::copy_n(&w.unit[std::size_t(3 * group + axis) * slot_group], slot_group, n);
    std::fill_n(sum, slot_group, V(0));
    const std::vector<Monomial>& list = plan.monomials(axis);
    for (auto m = list.rbegin(); m != list.rend(); ++m)
      for (int s = 0; s < slot_group; ++s) {
        const V a = adjoint[m->index * slot_group + s];
        sum[s] += a * mono[m->parent * slot_group + s];
        adjoint[m->parent * slot_group + s] += a * n[s];
      }
    std::copy_n(sum, slot_group, gradient[axis]);
  }
}

/// dE/dr_ij of the slots of a group: the radial part along n and the angular part across it.
template <class P, class V>
void pair_gradients(const P& plan, Scratch<V>& w, int group) {
  const int channels = plan.radial_channels();
  V gradient[3][slot_group];
  backward_monomials(plan, w, group, gradient);
  const std::size_t at = std::size_t(group) * channels * slot_group;
  const V* const n = &w.unit[std::size_t(3 * group) * slot_group];
  for (int s = 0; s < slot_group; ++s) {
    const int slot = group * slot_group + s;
    if (slot >= w.slots) break;
    V along(0);
    for (int mu = 0; mu < channels; ++mu)
      along +=
          w.channel_adjoint[at + mu * slot_group + s] * w.radial_slope[at + mu * slot_group + s];
    V turn(0);
    for (int axis = 0; axis < 3; ++axis) turn += gradient[axis][s] * n[axis * slot_group + s];
    const V inverse = w.inverse_r[slot];
    const V radial = along - turn * inverse;
    for (int axis = 0; axis < 3; ++axis)
      w.gradient[3 * slot + axis] = radial * n[axis * slot_group + s] + inverse * gradient[axis][s];
  }
}

/// From dE/dM back to dE/df of every slot and, with forces, to dE/dr_ij.
template <bool with_forces, class P, class V>
void backward_slots(const P& plan, Scratch<V>& w) {
  const int stride = plan.radial_channels() * slot_group;
  const int mono_stride = plan.monomials_count() * slot_group;
  backward_derived(plan, w);
  std::fill_n(w.channel_adjoint.begin(), std::size_t(w.groups) * stride, V(0));
  for (int g = 0; g < w.groups; ++g) {
    for (int m : plan.bare_monomials())
      std::fill_n(&w.monomial_adjoint[std::size_t(m) * slot_group], slot_group, V(0));
    for (const ChannelRun& run : plan.runs())
      with_channel_count(run.count, [&](auto C) {
        constexpr int width = C.value <= 3 ? slot_group : slot_group / 2;
        for (int from = 0; from < slot_group; from += width)
          backward_moments<C.value, width>(
              run, plan.basic_start().data(), &w.radial[std::size_t(g) * stride],
              &w.monomial[std::size_t(g) * mono_stride], w.adjoint.data(),
              w.monomial_adjoint.data(), &w.channel_adjoint[std::size_t(g) * stride], from);
      });
    if constexpr (with_forces) pair_gradients(plan, w, g);
  }
}

/// Each basis function by itself: B_s.
template <class P, class V>
void basis_functions(const P& plan, const Scratch<V>& w, V* out) {
  const V* const m = w.moment.data();
  const int* start = plan.scalar_start().data();
  const auto* terms = plan.scalar_terms().data();
  const int count = int(plan.scalar_moment().size());
  for (int s = 0; s < count; ++s) {
    if (plan.scalar_moment()[s] >= 0) {
      out[s] = m[plan.scalar_moment()[s]];
      continue;
    }
    V sum(0);
    for (int t = start[s]; t < start[s + 1]; ++t)
      sum += scale(terms[t].weight, m[terms[t].left]) * m[terms[t].right];
    out[s] = sum;
  }
}

/// dE/dtheta of the atoms in the lanes, in the order radial, species, moments.
template <class P, class V, class Group>
void parameter_gradient(const P& plan, const Scratch<V>& w, int zi, const Group& group, V* out) {
  const int channels = plan.radial_channels(), size = plan.radial_size();
  const int z_count = plan.species_count();
  const std::size_t radial = std::size_t(z_count) * z_count * channels * size;
  std::fill_n(out, radial + z_count, V(0));
  for (int slot = 0; slot < w.slots; ++slot) {
    const V* phi = &w.basis[std::size_t(slot) * size];
    const std::size_t at =
        std::size_t(slot / slot_group) * channels * slot_group + slot % slot_group;
    V* row = out + std::size_t(zi * z_count + group.species(slot)) * channels * size;
    for (int mu = 0; mu < channels; ++mu, row += size) {
      const V adjoint = w.channel_adjoint[at + mu * slot_group];
      for (int n = 0; n < size; ++n) row[n] += adjoint * phi[n];
    }
  }
  out[radial + zi] = V(1);
  basis_functions(plan, w, out + radial + z_count);
}

}  // namespace pescape::mtp
