// Angular symmetry functions of one atom, with triplets in SIMD lanes.
//
// Four stages per group of functions that share exponentials and powers:
//   collect      pairs of neighbours within reach (triplets.hpp)
//   add_angular  the exponentials, the powers and their products' sums: a small matrix product
//   backward     from the products' adjoints to those of distances and angle, per triplet
//   scatter      to the two neighbours of each triplet (both in angular_backward.hpp)
#pragma once

#include "bpnn/triplets.hpp"

namespace pescape::bpnn {

/// Smallest base of a power: keeps its logarithm and its inverse finite.
inline constexpr double least_base = 1e-200;

namespace detail {

/// x^n for the packs of a block, n at least 0.
PESCAPE_INLINE void integer_powers(const Pack<double>* x, int n, double* out) {
  using V = Pack<double>;
  V result[block_packs], square[block_packs];
  for (int k = 0; k < block_packs; ++k) result[k] = n & 1 ? x[k] : V(1.0), square[k] = x[k];
  for (n >>= 1; n > 0; n >>= 1) {
    for (int k = 0; k < block_packs; ++k) square[k] = square[k] * square[k];
    if (n & 1)
      for (int k = 0; k < block_packs; ++k) result[k] = result[k] * square[k];
  }
  for (int k = 0; k < block_packs; ++k) store(out + k * V::lanes, result[k]);
}

/// Powers of 1 + lambda cos for one block, each in its row.
inline void compute_powers(const AngularGroup& group, Triplets& triplets, int block) {
  using V = Pack<double>;
  const double* cosine = &triplets.cosine[std::size_t(block) * block_size];
  V x[block_packs] = {}, logarithm[block_packs] = {};
  int base = -1;
  bool has_logarithm = false;
  for (std::size_t p = 0; p < group.powers.size(); ++p) {
    const AngularGroup::Power& power = group.powers[p];
    double* row = triplets.row(block, first_eta_row + group.etas.size() + p);
    if (power.base != base) {
      base = power.base, has_logarithm = false;
      const V lambda(group.lambdas[base]);
      for (int k = 0; k < block_packs; ++k)
        x[k] = max(V(1.0) + lambda * load(cosine + k * V::lanes), V(least_base));
    }
    if (power.integer >= 0) {
      integer_powers(x, power.integer, row);
      continue;
    }
    if (!has_logarithm)
      for (int k = 0; k < block_packs; ++k) logarithm[k] = log(x[k]);
    has_logarithm = true;
    for (int k = 0; k < block_packs; ++k)
      store(row + k * V::lanes, exp(V(power.zeta) * logarithm[k]));
  }
}

/// Windows of angles for one block, and their derivatives by the cosine.
inline void compute_windows(const AngularGroup& group, Triplets& triplets, int block) {
  using V = Pack<double>;
  const double* cosine = &triplets.cosine[std::size_t(block) * block_size];
  const std::size_t first = first_eta_row + group.etas.size();
  for (int t = 0; t < block_size; t += V::lanes) {
    const V c = load(cosine + t), angle = acos(c);
    // Where the sine vanishes, so does the gradient of the cosine.
    const V inverse_sine = V(1.0) / max(sqrt(max(V(1.0) - c * c, V(0.0))), V(1e-150));
    for (std::size_t p = 0; p < group.windows.size(); ++p) {
      const AngularGroup::Window& w = group.windows[p];
      const V x = (angle - V(w.middle)) * V(1.0 / w.half_width), away = max(x, V(0.0) - x);
      V value, derivative;
      window(w.order, false, away, value, derivative);
      const V slope = V(V::Register(x.v < V(0.0).v ? derivative.v : (V(0.0) - derivative).v));
      store(triplets.row(block, first + p) + t, value);
      store(triplets.row(block, first + group.windows.size() + p) + t,
            slope * V(1.0 / w.half_width) * inverse_sine);
    }
  }
}

inline void compute_exponentials(const AngularGroup& group, const CutoffFunction& cutoff,
                                 Triplets& triplets, int block) {
  using V = Pack<double>;
  const std::size_t start = std::size_t(block) * block_size;
  for (int t = 0; t < block_size; t += V::lanes) {
    const V s = load(&triplets.exponent[start + t]);
    for (std::size_t e = 0; e < group.etas.size(); ++e)
      store(triplets.row(block, first_eta_row + e) + t, exp(V(-group.etas[e]) * s));
    if (!group.narrow) continue;
    const CutoffValue f = cutoff_value(cutoff, load(&triplets.r2[start + t]));
    store(triplets.row(block, cutoff_row) + t, f.value);
    store(triplets.row(block, slope_row) + t, f.slope);
  }
}

/// sums[e][p] += sum over the block of weight * exponential e * power p, for a tile of both.
template <int etas, int powers>
PESCAPE_INLINE void add_products(const double* weight, const double* const* eta,
                                 const double* const* power, Pack<double>* sums, std::size_t row) {
  using V = Pack<double>;
  V total[etas][powers];
  for (int e = 0; e < etas; ++e)
    for (int p = 0; p < powers; ++p) total[e][p] = sums[e * row + p];
  for (int t = 0; t < block_size; t += V::lanes) {
    const V w = load(weight + t);
    V left[etas];
    for (int e = 0; e < etas; ++e) left[e] = w * load(eta[e] + t);
    for (int p = 0; p < powers; ++p) {
      const V right = load(power[p] + t);
      for (int e = 0; e < etas; ++e) total[e][p] += left[e] * right;
    }
  }
  for (int e = 0; e < etas; ++e)
    for (int p = 0; p < powers; ++p) sums[e * row + p] = total[e][p];
}

template <int etas>
void add_products_of(int powers, const double* weight, const double* const* eta,
                     const double* const* power, Pack<double>* sums, std::size_t row) {
  for (; powers >= 8; powers -= 8, power += 8, sums += 8)
    add_products<etas, 8>(weight, eta, power, sums, row);
  if (powers >= 4) {
    add_products<etas, 4>(weight, eta, power, sums, row);
    powers -= 4, power += 4, sums += 4;
  }
  if (powers >= 2) {
    add_products<etas, 2>(weight, eta, power, sums, row);
    powers -= 2, power += 2, sums += 2;
  }
  if (powers == 1) add_products<etas, 1>(weight, eta, power, sums, row);
}

}  // namespace detail

/// Adds the group's functions to `functions`; the triplets keep what `backward_angular` needs.
inline void add_angular(const Neighborhood& hood, const AngularGroup& group,
                        const CutoffFunction& cutoff, Triplets& triplets, AngularScratch& work,
                        double* functions) {
  using V = Pack<double>;
  if (group.narrow)
    detail::collect<true>(hood, group, cutoff, triplets);
  else
    detail::collect<false>(hood, group, cutoff, triplets);
  const int etas = int(group.etas.size()), angles = int(group.angles());
  work.sums.assign(group.matrix_size(), V(0.0));
  double weight[block_size];
  for (int block = 0; block < triplets.blocks(); ++block) {
    detail::compute_exponentials(group, cutoff, triplets, block);
    if (group.has_windows())
      detail::compute_windows(group, triplets, block);
    else
      detail::compute_powers(group, triplets, block);
    const double* factor = &triplets.factor[std::size_t(block) * block_size];
    const double* between = triplets.row(block, cutoff_row);
    for (int t = 0; t < block_size; t += V::lanes)
      store(weight + t, group.narrow ? load(factor + t) * load(between + t) : load(factor + t));
    const BlockRows rows = work.rows_of(group, triplets, block);
    int e = 0;
    for (; e + 2 <= etas; e += 2)
      detail::add_products_of<2>(angles, weight, rows.exponential + e, rows.angle,
                                 &work.sums[e * angles], angles);
    if (e < etas)
      detail::add_products_of<1>(angles, weight, rows.exponential + e, rows.angle,
                                 &work.sums[e * angles], angles);
  }
  for (const AngularGroup::Term& term : group.terms)
    functions[term.function] += term.weight * sum(work.sums[group.place(term)]);
}

}  // namespace pescape::bpnn
