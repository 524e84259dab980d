// Cut-off functions and their slopes, many distances at once.
#pragma once

#include "bpnn/model.hpp"
#include "math.hpp"

namespace pescape::bpnn {

struct CutoffValue {
  Pack<double> value;
  Pack<double> slope;  ///< derivative with respect to the squared distance, 1/Å^2
};

namespace detail {

using pescape::detail::horner;
using V = Pack<double>;

/// cos^2(pi x / 2), from polynomials in x^2 that need no root.
PESCAPE_INLINE CutoffValue cosine(V r2, double radius) {
  static constexpr double cosine_factor[] = {1.0,
                                             -0.23370055013616783,
                                             0.01996895776483613,
                                             -0.000894522998138162,
                                             2.47372750411264e-05,
                                             -4.6476318093539006e-07,
                                             6.318119670622831e-09,
                                             -6.30616956165683e-11};
  static constexpr double sine_over_x[] = {
      1.5707963267948966,     -0.6459640975062462,    0.07969262624616565,
      -0.004681754135304255,  0.0001604411847130916,  -3.5988430204672576e-06,
      5.6921364280986254e-08, -6.684416831856085e-10, 5.87297574479995e-12};
  constexpr double pi = 3.14159265358979323846;
  const double scale = 1.0 / (radius * radius);
  const V u = min(r2 * V(scale), V(1.0));
  const V half = (V(1.0) - u) * horner(cosine_factor, u);  // cos(pi x / 2)
  return {half * half, half * horner(sine_over_x, u) * V(-0.5 * pi * scale)};
}

/// A function of x = (r - inner) / (radius - inner) and its derivative, given by `f`.
template <class F>
PESCAPE_INLINE CutoffValue of_fraction(V r2, const CutoffFunction& cutoff, double inner_fraction,
                                       double largest, F&& f) {
  const double inner = inner_fraction * cutoff.radius, width = cutoff.radius - inner;
  const V r = sqrt(r2);
  const V x = min(max((r - V(inner)) * V(1.0 / width), V(0.0)), V(largest));
  V value, derivative;
  f(x, value, derivative);
  return {value, derivative * V(0.5 / width) / r};
}

/// A polynomial that falls from 1 to 0 in [0, 1] with n vanishing derivatives at both ends:
/// (1 - x)^(n+1) times another; its derivative is proportional to (x (1 - x))^n.
template <int n>
PESCAPE_INLINE void smooth_step(V x, V& value, V& derivative) {
  static constexpr double factors[4][5] = {
      {1, 2, 0, 0, 0}, {1, 3, 6, 0, 0}, {1, 4, 10, 20, 0}, {1, 5, 15, 35, 70}};
  static constexpr double slopes[4] = {-6, -30, -140, -630};
  const V rest = V(1.0) - x, product = x * rest;
  value = horner(factors[n - 1], x) * rest;
  derivative = V(slopes[n - 1]);
  for (int k = 0; k < n; ++k) value = value * rest, derivative = derivative * product;
}

inline void smooth_step(int n, V x, V& value, V& derivative) {
  if (n == 1) return smooth_step<1>(x, value, derivative);
  if (n == 2) return smooth_step<2>(x, value, derivative);
  if (n == 3) return smooth_step<3>(x, value, derivative);
  smooth_step<4>(x, value, derivative);
}

/// A smooth step of the distance x >= 0 from a window's middle, in half widths; zero outside.
inline void window(int n, bool skewed, V x, V& value, V& derivative) {
  x = min(x, V(1.0));
  if (!skewed) return smooth_step(n, x, value, derivative);
  smooth_step(n, x * (V(2.0) - x), value, derivative);
  derivative = derivative * (V(2.0) - V(2.0) * x);
}

inline CutoffValue polynomial(V r2, const CutoffFunction& cutoff, int n) {
  return of_fraction(r2, cutoff, cutoff.parameter, 1.0,
                     [n](V x, V& value, V& derivative) { smooth_step(n, x, value, derivative); });
}

inline CutoffValue distance_window(V r2, const CutoffFunction& cutoff) {
  const double middle = 0.5 * (cutoff.radius + cutoff.parameter),
               width = 0.5 * (cutoff.radius - cutoff.parameter);
  const V r = sqrt(r2), x = (r - V(middle)) * V(1.0 / width);
  V value, derivative;
  window(window_order(cutoff.kind), cutoff.kind >= CutoffKind::skewed1, max(x, V(0.0) - x), value,
         derivative);
  const V signed_slope = V(V::Register(x.v < V(0.0).v ? (V(0.0) - derivative).v : derivative.v));
  return {value, signed_slope * V(0.5 / width) / r};
}

PESCAPE_INLINE CutoffValue tanh3(V r2, const CutoffFunction& cutoff, double norm) {
  return of_fraction(r2, cutoff, 0.0, 1.0, [norm](V x, V& value, V& derivative) {
    const V t = V(1.0) - V(2.0) / (exp(V(2.0) * (V(1.0) - x)) + V(1.0));  // tanh(1 - x)
    value = V(norm) * t * t * t;
    derivative = V(-3.0 * norm) * t * t * (V(1.0) - t * t);
  });
}

inline CutoffValue exponential(V r2, const CutoffFunction& cutoff) {
  // exp(1 - 1 / (1 - x^2)) is 1e-217 at x = 0.999 and nothing beyond.
  return of_fraction(r2, cutoff, cutoff.parameter, 0.999, [](V x, V& value, V& derivative) {
    const V inverse = V(1.0) / (V(1.0) - x * x);
    value = exp(V(1.0) - inverse);
    derivative = V(-2.0) * value * x * inverse * inverse;
  });
}

inline CutoffValue power(V r2, const CutoffFunction& cutoff) {
  const double g = cutoff.parameter;
  return of_fraction(r2, cutoff, 0.0, 1.0, [g](V x, V& value, V& derivative) {
    const V lower = exp(V(g - 1.0) * log(max(x, V(1e-200))));  // x^(g - 1)
    const V rest = V(1.0) - x;
    value = V(1.0) - lower * x * (V(1.0) + V(g) * rest);
    derivative = V(-g * (g + 1.0)) * lower * rest;
  });
}

inline CutoffValue hard(V r2, double radius) {
  return {V(V::Register(r2.v < V(radius * radius).v ? V(1.0).v : V(0.0).v)), V(0.0)};
}

}  // namespace detail

/// The cut-off function at squared distances r2; zero, with zero slope, from the radius on.
PESCAPE_INLINE CutoffValue cutoff_value(const CutoffFunction& cutoff, Pack<double> r2) {
  using namespace detail;
  switch (cutoff.kind) {
    case CutoffKind::cosine:
      if (cutoff.parameter == 0.0) return cosine(r2, cutoff.radius);
      return of_fraction(r2, cutoff, cutoff.parameter, 1.0, [](V x, V& value, V& derivative) {
        const CutoffValue c = cosine(x * x, 1.0);
        value = c.value;
        derivative = V(2.0) * x * c.slope;
      });
    case CutoffKind::tanh3:
      return tanh3(r2, cutoff, 1.0);
    case CutoffKind::normalized_tanh3:
      return tanh3(r2, cutoff, 2.2637537952253513);  // 1 / tanh(1)^3
    case CutoffKind::exponential:
      return exponential(r2, cutoff);
    case CutoffKind::poly1:
    case CutoffKind::poly2:
    case CutoffKind::poly3:
    case CutoffKind::poly4:
      return polynomial(r2, cutoff, int(cutoff.kind) - int(CutoffKind::poly1) + 1);
    case CutoffKind::power:
      return power(r2, cutoff);
    case CutoffKind::hard:
      return hard(r2, cutoff.radius);
    default:
      return distance_window(r2, cutoff);
  }
}

}  // namespace pescape::bpnn
