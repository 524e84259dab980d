// Angular symmetry functions of one atom in reverse: from the adjoints of functions to the gradient
// by the neighbours' positions. No derivative of a single function is formed on the way.
#pragma once

#include "bpnn/angular.hpp"

namespace pescape::bpnn {

/// Derivatives of a sum of functions, per triplet, each without both neighbours' cut-offs.
struct TripletDerivatives {
  double* value;     ///< the sum itself
  double* exponent;  ///< by a squared distance, through the exponentials
  double* between;   ///< by the squared distance between the neighbours
  double* angle;     ///< by the cosine

  /// In place of what `collect` found, which is not needed once a block's are computed.
  static TripletDerivatives over(Triplets& t) {
    return {t.factor.data(), t.exponent.data(), t.r2.data(), t.cosine.data()};
  }
};

namespace detail {

/// Derivatives of the weighted products of one pack of triplets, without both neighbours' cut-offs.
struct AdjointPack {
  Pack<double> value;     ///< sum of w exp pow
  Pack<double> exponent;  ///< by minus the exponent: sum of eta w exp pow
  Pack<double> angle;     ///< by the cosine
};

template <bool narrow>
PESCAPE_INLINE void store_adjoints(const AngularGroup& group, Triplets& triplets, int block, int t,
                                   const AdjointPack& adjoint, const TripletDerivatives& out) {
  using V = Pack<double>;
  const std::size_t at = std::size_t(block) * block_size + t;
  V value = adjoint.value, exponent = V(0.0) - adjoint.exponent, angle = adjoint.angle;
  if (narrow) {
    const V f = load(triplets.row(block, cutoff_row) + t);
    V through = exponent;
    if (group.shift != 0.0) {
      const V r2 = max(load(&triplets.r2[at]), V(1e-30));
      through = exponent * (V(1.0) - V(group.shift) / sqrt(r2));
    }
    store(out.between + at, f * through + load(triplets.row(block, slope_row) + t) * value);
    value = value * f;
    exponent = exponent * f;
    angle = angle * f;
  }
  store(out.value + at, value);
  store(out.exponent + at, exponent);
  store(out.angle + at, angle);
}

template <bool narrow>
struct ScatterRow {
  using V = Pack<double>;
  const Neighborhood& hood;
  const AngularGroup& group;
  const TripletDerivatives& adjoint;
  Gradient& gradient;
  std::size_t& at;
  const std::uint16_t*& mask_at;
  int index;
  FirstNeighbor j;
  V along = V(0.0), x = V(0.0), y = V(0.0), z = V(0.0);

  PESCAPE_INLINE void operator()(int k, LaneMask) {
    const LaneMask mask = *mask_at++;
    if (mask == 0) return;
    const V value = expand(adjoint.value + at, mask), slope = expand(adjoint.exponent + at, mask),
            angle = expand(adjoint.angle + at, mask);
    const V between = narrow ? expand(adjoint.between + at, mask) : V(0.0);
    at += pescape::count(mask);
    const V xk = load(&hood.x[k]), yk = load(&hood.y[k]), zk = load(&hood.z[k]);
    const V inverse_k = load(&hood.inverse_r[k]), fk = load(&hood.cutoff[group.cutoff][k]),
            slope_k = load(&hood.slope[group.cutoff][k]);
    const V inverse_j(j.inverse_r), fj(j.cutoff), both = fj * fk, inverses = inverse_j * inverse_k;
    const V c = (V(j.x) * xk + V(j.y) * yk + V(j.z) * zk) * inverses;
    V slope_by_j = slope, slope_by_k = slope;
    if (group.shift != 0.0) {
      slope_by_j = slope * (V(1.0) - V(group.shift) * inverse_j);
      slope_by_k = slope * (V(1.0) - V(group.shift) * inverse_k);
    }
    const V by_jk = both * between, by_angle = both * angle;
    const V by_j = fk * (V(j.slope) * value + fj * slope_by_j),
            by_k = fj * (slope_k * value + fk * slope_by_k);
    const V cross = by_angle * inverses - V(2.0) * by_jk, turn = by_angle * c;
    along += V(2.0) * (by_j + by_jk) - turn * inverse_j * inverse_j;
    x += cross * xk, y += cross * yk, z += cross * zk;
    add(gradient.along, k, V(2.0) * (by_k + by_jk) - turn * inverse_k * inverse_k);
    add(gradient.across_x, k, cross * V(j.x));
    add(gradient.across_y, k, cross * V(j.y));
    add(gradient.across_z, k, cross * V(j.z));
  }
  void done() {
    gradient.along[index] += sum(along);
    gradient.across_x[index] += sum(x);
    gradient.across_y[index] += sum(y);
    gradient.across_z[index] += sum(z);
  }
  PESCAPE_INLINE static void add(std::vector<double>& array, int k, V v) {
    store(&array[k], load(&array[k]) + v);
  }
};

template <bool narrow>
void scatter(const Neighborhood& hood, const AngularGroup& group, const Triplets& triplets,
             const TripletDerivatives& adjoint, Gradient& gradient) {
  std::size_t at = 0;
  const std::uint16_t* mask_at = triplets.masks.data();
  for_each_pair(hood, group, [&](int j) {
    return ScatterRow<narrow>{hood, group,   adjoint, gradient,
                              at,   mask_at, j,       {hood, group.cutoff, j}};
  });
}

/// Adds the products of some powers of one base, or some windows, with all exponentials, for the
/// pack at t. Of powers, `angle` misses a factor lambda / (1 + lambda cos), because
/// d x^zeta / dx = zeta x^zeta / x.
template <int count, bool windows>
PESCAPE_INLINE void backward_angles(const AngularGroup& group, const AngularScratch& work,
                                    const BlockRows& rows, std::size_t first, int t,
                                    AdjointPack& adjoint, Pack<double>& angle) {
  using V = Pack<double>;
  const std::size_t stride = group.angles();
  V factor[count], turning[count];
  for (int p = 0; p < count; ++p) {
    factor[p] = load(rows.angle[first + p] + t);
    turning[p] = windows ? load(rows.derivative[first + p] + t) : factor[p];
  }
  const double* weight = &work.weights[first];
  const double* turned_weight = windows ? weight : &work.zeta_weights[first];
  for (std::size_t e = 0; e < group.etas.size(); ++e, weight += stride, turned_weight += stride) {
    V value = V(weight[0]) * factor[0], turned = V(turned_weight[0]) * turning[0];
    for (int p = 1; p < count; ++p) {
      value += V(weight[p]) * factor[p];
      turned += V(turned_weight[p]) * turning[p];
    }
    const V exponential = load(rows.exponential[e] + t);
    value = value * exponential;
    adjoint.value += value;
    adjoint.exponent += V(group.etas[e]) * value;
    angle += turned * exponential;
  }
}

template <bool windows>
PESCAPE_INLINE void backward_range(const AngularGroup& group, const AngularScratch& work,
                                   const BlockRows& rows, std::size_t first, std::size_t end, int t,
                                   AdjointPack& adjoint, Pack<double>& angle) {
  for (; first + 4 <= end; first += 4)
    backward_angles<4, windows>(group, work, rows, first, t, adjoint, angle);
  if (first + 2 <= end) {
    backward_angles<2, windows>(group, work, rows, first, t, adjoint, angle);
    first += 2;
  }
  if (first < end) backward_angles<1, windows>(group, work, rows, first, t, adjoint, angle);
}

/// Sums over all products with their adjoints, for one pack of triplets.
PESCAPE_INLINE AdjointPack backward_products(const AngularGroup& group, const AngularScratch& work,
                                             const BlockRows& rows, int t) {
  using V = Pack<double>;
  AdjointPack adjoint{V(0.0), V(0.0), V(0.0)};
  if (group.has_windows()) {
    backward_range<true>(group, work, rows, 0, group.windows.size(), t, adjoint, adjoint.angle);
    return adjoint;
  }
  const V cosine = load(rows.cosine + t);
  for (std::size_t first = 0, end = 0; first < group.powers.size(); first = end) {
    const int base = group.powers[first].base;
    while (end < group.powers.size() && group.powers[end].base == base) ++end;
    V angle(0.0);
    backward_range<false>(group, work, rows, first, end, t, adjoint, angle);
    const V lambda(group.lambdas[base]);
    adjoint.angle += lambda * angle / max(V(1.0) + lambda * cosine, V(least_base));
  }
  return adjoint;
}

template <bool narrow>
void backward_triplets(const Neighborhood& hood, const AngularGroup& group, AngularScratch& work,
                       Triplets& triplets, Gradient& gradient) {
  const TripletDerivatives adjoint = TripletDerivatives::over(triplets);
  for (int block = 0; block < triplets.blocks(); ++block) {
    const BlockRows rows = work.rows_of(group, triplets, block);
    for (int t = 0; t < block_size; t += Pack<double>::lanes)
      store_adjoints<narrow>(group, triplets, block, t, backward_products(group, work, rows, t),
                             adjoint);
  }
  scatter<narrow>(hood, group, triplets, adjoint, gradient);
}

template <bool narrow>
void backward_term(const Neighborhood& hood, const AngularGroup& group,
                   const AngularGroup::Term& term, Triplets& triplets,
                   const TripletDerivatives& adjoint, Gradient& gradient) {
  using V = Pack<double>;
  const std::size_t angle_row = first_eta_row + group.etas.size() + term.angle;
  const double eta = group.etas[term.eta];
  for (int block = 0; block < triplets.blocks(); ++block) {
    const double* exponentials = triplets.row(block, first_eta_row + term.eta);
    const double* angles = triplets.row(block, angle_row);
    const double* cosine = &triplets.cosine[std::size_t(block) * block_size];
    for (int t = 0; t < block_size; t += V::lanes) {
      const V exponential = V(term.weight) * load(exponentials + t);
      const V value = exponential * load(angles + t);
      V turned;
      if (group.has_windows()) {
        turned = exponential * load(triplets.row(block, angle_row + group.windows.size()) + t);
      } else {
        const AngularGroup::Power& power = group.powers[term.angle];
        const V lambda(group.lambdas[power.base]);
        const V x = max(V(1.0) + lambda * load(cosine + t), V(least_base));
        turned = V(power.zeta) * lambda * value / x;
      }
      const AdjointPack one{value, V(eta) * value, turned};
      store_adjoints<narrow>(group, triplets, block, t, one, adjoint);
    }
  }
  scatter<narrow>(hood, group, triplets, adjoint, gradient);
}

}  // namespace detail

/// Adds the gradient of sum_f adjoints[f] G_f over the group's functions.
inline void backward_angular(const Neighborhood& hood, const AngularGroup& group,
                             Triplets& triplets, const double* adjoints, AngularScratch& work,
                             Gradient& gradient) {
  work.weights.assign(group.matrix_size(), 0.0);
  for (const AngularGroup::Term& term : group.terms)
    work.weights[group.place(term)] += term.weight * adjoints[term.function];
  work.zeta_weights = work.weights;
  if (!group.has_windows())
    for (std::size_t k = 0; k < work.weights.size(); ++k)
      work.zeta_weights[k] *= group.powers[k % group.powers.size()].zeta;
  if (group.narrow)
    detail::backward_triplets<true>(hood, group, work, triplets, gradient);
  else
    detail::backward_triplets<false>(hood, group, work, triplets, gradient);
}

/// Adds the gradient of one function alone; the triplets stay as they are.
inline void backward_term(const Neighborhood& hood, const AngularGroup& group,
                          const AngularGroup::Term& term, Triplets& triplets,
                          const TripletDerivatives& scratch, Gradient& gradient) {
  if (group.narrow)
    detail::backward_term<true>(hood, group, term, triplets, scratch, gradient);
  else
    detail::backward_term<false>(hood, group, term, triplets, scratch, gradient);
}

}  // namespace pescape::bpnn
