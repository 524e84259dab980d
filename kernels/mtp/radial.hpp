// The radial basis phi_n(r), and how it comes to rest below the shortest distance
// of the training data, beside a repulsion.
//
// V is Pack<T>, or Dual<Pack<T>> where the derivative along one displacement is wanted too.
#pragma once

#include <algorithm>

#include "simd.hpp"

namespace pescape::mtp {

/// Over which part of the shortest distance of the data saturating radial functions come to rest.
inline constexpr double saturation_width = 0.05;

/// A distance that ends at low (1 - saturation_width / 2), and its derivative dr/d(true r).
template <class T>
struct Saturated {
  Pack<T> r, slope;
};

/// The same as r from `low` on; twice continuously differentiable.
template <class T>
Saturated<T> saturated(Pack<T> r, T low) {
  Saturated<T> at{r, Pack<T>(T(1))};
  const T width = T(saturation_width) * low;
  for (int l = 0; l < Pack<T>::lanes; ++l) {
    if (!(r[l] < low)) continue;
    const T t = std::min((low - r[l]) / width, T(1));
    at.r.set(l, low - width * t * (T(1) - t * t * (T(1) - T(0.5) * t)));
    at.slope.set(l, T(1) - t * t * (T(3) - T(2) * t));
  }
  return at;
}

/// phi_n(r), n < size, and their derivatives where `slope` is given (Chebyshev, smooth at R).
template <class P, class V>
PESCAPE_INLINE void chebyshev_basis(const P& plan, V r, V* phi, V* slope) {
  using T = typename Numeric<V>::Scalar;
  const int size = plan.radial_size();
  const T R = T(plan.cutoff()), low = T(plan.min_dist()), s = T(plan.scaling());
  const T step = T(2) / (R - low);  // d(xi)/dr
  const V gap = r - V(R);
  const V two_xi = scale(T(2) * step, r - V(T(0.5) * (R + low)));
  phi[0] = scale(s, gap * gap);
  if (slope) slope[0] = scale(T(2) * s, gap);
  if (size == 1) return;
  phi[1] = scale(T(0.5), two_xi) * phi[0];
  if (slope) slope[1] = scale(T(0.5), two_xi) * slope[0] + scale(step, phi[0]);
  for (int n = 2; n < size; ++n) {
    phi[n] = two_xi * phi[n - 1] - phi[n - 2];
    if (slope) slope[n] = two_xi * slope[n - 1] + scale(T(2) * step, phi[n - 1]) - slope[n - 2];
  }
}

/// The same of saturated distances.
template <class P, class T>
void saturated_basis(const P& plan, double nearest, Pack<T> r, Pack<T>* phi, Pack<T>* slope) {
  const Saturated<T> at = saturated(r, T(nearest));
  chebyshev_basis(plan, at.r, phi, slope);
  if (slope)
    for (int n = 0; n < plan.radial_size(); ++n) slope[n] = at.slope * slope[n];
}
template <class P, class T>
void saturated_basis(const P& plan, double nearest, Dual<Pack<T>> r, Dual<Pack<T>>* phi,
                     Dual<Pack<T>>* slope) {
  const Saturated<T> at = saturated(r.value, T(nearest));
  chebyshev_basis(plan, Dual<Pack<T>>(at.r, at.slope * r.tangent), phi, slope);
}

template <class T>
PESCAPE_INLINE Pack<T> value_of(Pack<T> a) {
  return a;
}
template <class T>
PESCAPE_INLINE Pack<T> value_of(Dual<Pack<T>> a) {
  return a.value;
}

/// phi_n, and their derivatives where `slope` is given; below `nearest` they saturate if asked to.
template <bool saturating, class P, class V>
PESCAPE_INLINE void radial_basis(const P& plan, double nearest, V r, V* phi, V* slope) {
  using T = typename Numeric<V>::Scalar;
  if constexpr (saturating)
    if (any_less(value_of(r), Pack<T>(T(nearest))))
      return saturated_basis(plan, nearest, r, phi, slope);
  chebyshev_basis(plan, r, phi, slope);
}

}  // namespace pescape::mtp
