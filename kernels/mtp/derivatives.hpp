// What fitting needs: the parameter gradient of any energy/force/stress loss, and the basis in
// which energies, forces and virials are linear.
#pragma once

#include <vector>

#include "mtp/evaluate.hpp"

namespace pescape::mtp {

/// Scratch of one thread for add_weighted_gradient.
template <class T>
struct DerivativeWorkspace {
  using V = Dual<Pack<T>>;
  std::vector<Neighborhoods<Pack<T>::lanes>> pending;
  Scratch<V> scratch;
  std::vector<V> parameters;
};

namespace detail {

/// Unit vectors, distances and radial functions with their change along the pair tangents.
template <bool saturating, class T, class Group, class Tangent>
void load_dual_slots(const Plan<T>& plan, Scratch<Dual<Pack<T>>>& w, const Group& group, int zi,
                     const Tangent& tangent) {
  using P = Pack<T>;
  using V = Dual<P>;
  w.prepare(plan, group.slots());
  for (int slot = 0; slot < w.slots; ++slot) {
    P r[3], change[3] = {P(T(0)), P(T(0)), P(T(0))};
    for (int axis = 0; axis < 3; ++axis) r[axis] = P::convert(group.position(slot, axis));
    for (int l = 0; l < group.used(); ++l) {
      const int j = group.index(slot, l);
      if (j < 0) continue;
      double d[3], t[3];
      for (int axis = 0; axis < 3; ++axis) d[axis] = group.position(slot, axis)[l];
      tangent(group.atom(l), j, d, t);
      for (int axis = 0; axis < 3; ++axis) change[axis].v[l] = T(t[axis]);
    }
    const P length = sqrt(r[0] * r[0] + r[1] * r[1] + r[2] * r[2]);
    const P inverse = P(T(1)) / length;
    P n[3], stretch(T(0));
    for (int axis = 0; axis < 3; ++axis) {
      n[axis] = r[axis] * inverse;
      stretch += n[axis] * change[axis];
    }
    V* unit = &w.unit[std::size_t(3 * (slot / slot_group)) * slot_group + slot % slot_group];
    for (int axis = 0; axis < 3; ++axis)
      unit[axis * slot_group] = V(n[axis], (change[axis] - n[axis] * stretch) * inverse);
    radial_functions<false, saturating>(plan, w, slot, zi, group.species(slot), V(length, stretch));
  }
  clear_padding(plan, w);
}

}  // namespace detail

/// sum_i [ w_i dE_i/dtheta + d/dtheta (d/deps E_i(r_ij + eps t_ij)) ], added to out[p].
///
/// `tangent(i, j, d, t)` writes t_ij for the pair with separation d; `weight(i)` returns w_i. Since
/// forces and virials are first derivatives of the energy, the gradient of any loss of them is of
/// this form, and one pass yields it.
template <class T, class List, class Weight, class Tangent>
void add_weighted_gradient(const Plan<T>& plan, DerivativeWorkspace<T>& work, const int* atoms,
                           int count, const List& list, const Weight& weight,
                           const Tangent& tangent, double* out) {
  auto& w = work.scratch;
  work.parameters.resize(plan.parameter_count());
  for_each_group(work.pending, plan.species_count(), plan.cutoff(), atoms, count, list,
                 [&](const Neighborhoods<Pack<T>::lanes>& group, int zi) {
                   if (plan.saturates())
                     detail::load_dual_slots<true>(plan, w, group, zi, tangent);
                   else
                     detail::load_dual_slots<false>(plan, w, group, zi, tangent);
                   basic_moments(plan, w);
                   contract(plan, w);
                   energy_and_adjoints(plan, w);
                   backward_slots<false>(plan, w);
                   parameter_gradient(plan, w, zi, group, work.parameters.data());
                   for (int p = 0; p < plan.parameter_count(); ++p)
                     for (int l = 0; l < group.used(); ++l)
                       out[p] += weight(group.atom(l)) * double(work.parameters[p].value[l]) +
                                 double(work.parameters[p].tangent[l]);
                 });
}

/// Derivatives of every basis function of one atom with respect to its neighbours' positions.
///
/// Forward differentiation with the directions in the lanes: the moments are plain numbers, their
/// tangents packs of directions, and each product of the contraction list costs two
/// multiply-additions per pack.
template <class T>
class BasisJacobian {
 public:
  using P = Pack<T>;
  explicit BasisJacobian(const Plan<T>& plan) : plan_(plan) {}

  /// Works on one atom; results stay valid until the next call.
  template <class List>
  void compute(int atom, const List& list) {
    const int zi = list.species(atom);
    around_.clear(plan_.species_count());
    around_.add(atom, list, plan_.cutoff());
    around_.finish(plan_.cutoff());
    neighbors_ = around_.slots();
    packs_ = (3 * neighbors_ + P::lanes - 1) / P::lanes;
    values_.assign(plan_.moments_count(), T(0));
    tangents_.assign(std::size_t(plan_.moments_count()) * packs_, P(T(0)));
    for (int k = 0; k < neighbors_; ++k) add_neighbor(k, zi);
    derive();
    contract_all();
    collect_basis();
  }

  int neighbors() const { return neighbors_; }
  int index(int k) const { return around_.index(k, 0); }
  double separation(int k, int axis) const { return around_.position(k, axis)[0]; }
  T basis(int s) const { return basis_[s]; }
  /// dB_s / d(r_k)_axis
  T derivative(int s, int k, int axis) const {
    const int direction = 3 * k + axis;
    return basis_tangents_[std::size_t(s) * packs_ + direction / P::lanes][direction % P::lanes];
  }

 private:
  void add_neighbor(int k, int zi) {
    const int channels = plan_.radial_channels(), size = plan_.radial_size();
    const double d[3] = {separation(k, 0), separation(k, 1), separation(k, 2)};
    const double r = std::sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
    const T n[3] = {T(d[0] / r), T(d[1] / r), T(d[2] / r)};
    const T inverse = T(1.0 / r);
    phi_.resize(size);
    slope_.resize(size);
    const double low = plan_.nearest(zi, around_.species(k));
    if (plan_.saturates())
      radial_basis<true>(plan_, low, P(T(r)), phi_.data(), slope_.data());
    else
      radial_basis<false>(plan_, low, P(T(r)), phi_.data(), slope_.data());
    f_.assign(channels, T(0));
    df_.assign(channels, T(0));
    const T* c = plan_.radial_coeffs(zi, around_.species(k));
    for (int mu = 0; mu < channels; ++mu, c += size)
      for (int q = 0; q < size; ++q) {
        f_[mu] += c[q] * phi_[q][0];
        df_[mu] += c[q] * slope_[q][0];
      }
    // Monomials and their gradients with respect to n, then with respect to r.
    const int total = plan_.monomials_count();
    mono_.assign(total, T(0));
    mono_gradient_.assign(total, {T(0), T(0), T(0)});
    mono_[0] = T(1);
    for (int axis = 0; axis < 3; ++axis)
      for (const Monomial m : plan_.monomials(axis)) {
        mono_[m.index] = mono_[m.parent] * n[axis];
        for (int e = 0; e < 3; ++e)
          mono_gradient_[m.index][e] = mono_gradient_[m.parent][e] * n[axis];
        mono_gradient_[m.index][axis] += mono_[m.parent];
      }
    for (const ChannelRun& run : plan_.runs())
      for (int m = run.first; m < run.last; ++m) {
        const auto& g = mono_gradient_[m];
        const T turn = g[0] * n[0] + g[1] * n[1] + g[2] * n[2];
        for (int mu = run.channel; mu < run.channel + run.count; ++mu) {
          const int moment = plan_.basic_start()[m] + mu;
          values_[moment] += f_[mu] * mono_[m];
          for (int e = 0; e < 3; ++e) {
            const int direction = 3 * k + e;
            tangents_[std::size_t(moment) * packs_ + direction / P::lanes].v[direction % P::lanes] =
                df_[mu] * n[e] * mono_[m] + f_[mu] * inverse * (g[e] - turn * n[e]);
          }
        }
      }
  }

  void derive() {
    for (const DerivedMoment& d : plan_.derived()) {
      values_[d.moment] = values_[d.one] - values_[d.x_squared] - values_[d.y_squared];
      P* const t = tangents_.data();
      for (int p = 0; p < packs_; ++p)
        t[std::size_t(d.moment) * packs_ + p] = t[std::size_t(d.one) * packs_ + p] -
                                                t[std::size_t(d.x_squared) * packs_ + p] -
                                                t[std::size_t(d.y_squared) * packs_ + p];
    }
  }

  template <class Start>
  void evaluate_row(const Start& start, const std::vector<Term<T>>& terms, int row, T& value,
                    P* tangent) const {
    T sum(0);
    std::fill_n(tangent, packs_, P(T(0)));
    for (int t = start[row]; t < start[row + 1]; ++t) {
      const Term<T>& term = terms[t];
      const T left = term.weight * values_[term.left], right = term.weight * values_[term.right];
      sum += left * values_[term.right];
      const P* dl = &tangents_[std::size_t(term.left) * packs_];
      const P* dr = &tangents_[std::size_t(term.right) * packs_];
      for (int p = 0; p < packs_; ++p) tangent[p] += scale(right, dl[p]) + scale(left, dr[p]);
    }
    value = sum;
  }

  void contract_all() {
    const int rows = int(plan_.intermediate_start().size()) - 1;
    for (int k = 0; k < rows; ++k) {
      const int moment = plan_.basic_count() + k;
      evaluate_row(plan_.intermediate_start(), plan_.intermediate_terms(), k, values_[moment],
                   tangents_.data() + std::size_t(moment) * packs_);
    }
  }

  void collect_basis() {
    const int count = int(plan_.scalar_moment().size());
    basis_.resize(count);
    basis_tangents_.resize(std::size_t(count) * packs_);
    for (int s = 0; s < count; ++s) {
      P* tangent = basis_tangents_.data() + std::size_t(s) * packs_;
      const int moment = plan_.scalar_moment()[s];
      if (moment < 0) {
        evaluate_row(plan_.scalar_start(), plan_.scalar_terms(), s, basis_[s], tangent);
      } else {
        basis_[s] = values_[moment];
        std::copy_n(tangents_.data() + std::size_t(moment) * packs_, packs_, tangent);
      }
    }
  }

  const Plan<T>& plan_;
  Neighborhoods<1> around_;
  int neighbors_ = 0, packs_ = 0;
  std::vector<T> values_, basis_, f_, df_, mono_;
  std::vector<std::array<T, 3>> mono_gradient_;
  std::vector<P> tangents_, basis_tangents_, phi_, slope_;
};

}  // namespace pescape::mtp
