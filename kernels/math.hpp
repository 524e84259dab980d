// Elementary functions of packs, accurate to a few units in the last place.
//
// Coefficients are minimax polynomials of the reduced arguments.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "simd.hpp"
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace pescape {

namespace detail {

/// Integers as wide as doubles, one for each lane.
typedef std::int64_t Integers __attribute__((vector_size(simd_bytes)));

PESCAPE_INLINE Integers bits_of(Pack<double> a) {
  Integers bits;
  std::memcpy(&bits, &a.v, sizeof bits);
  return bits;
}
PESCAPE_INLINE Pack<double> from_bits(Integers bits) {
  Pack<double> a;
  std::memcpy(&a.v, &bits, sizeof bits);
  return a;
}

/// Added to a small number, this leaves the nearest integer in the lowest bits.
inline constexpr double round_magic = 0x1.8p52;

template <std::size_t terms>
PESCAPE_INLINE Pack<double> horner(const double (&coefficients)[terms], Pack<double> x) {
  Pack<double> sum(coefficients[terms - 1]);
  for (std::size_t k = terms - 1; k-- > 0;) sum = sum * x + Pack<double>(coefficients[k]);
  return sum;
}

}  // namespace detail

PESCAPE_INLINE Pack<double> max(Pack<double> a, Pack<double> b) {
#if defined(__AVX512F__)
  return Pack<double>(
      Pack<double>::Register(_mm512_maskz_max_pd(0xff, __m512d(a.v), __m512d(b.v))));
#else
  return Pack<double>(a.v > b.v ? a.v : b.v);
#endif
}
PESCAPE_INLINE Pack<double> min(Pack<double> a, Pack<double> b) {
#if defined(__AVX512F__)
  return Pack<double>(
      Pack<double>::Register(_mm512_maskz_min_pd(0xff, __m512d(a.v), __m512d(b.v))));
#else
  return Pack<double>(a.v < b.v ? a.v : b.v);
#endif
}

/// e^x for x up to 700; below -708 the result stays at 3e-308.
PESCAPE_INLINE Pack<double> exp(Pack<double> x) {
  using V = Pack<double>;
  static constexpr double series[] = {1.0,
                                      1.0,
                                      0.5000000000000019,
                                      0.1666666666666668,
                                      0.04166666666648795,
                                      0.008333333333319589,
                                      0.0013888888952352863,
                                      0.00019841269890076403,
                                      2.4801485441561313e-05,
                                      2.755724088722987e-06,
                                      2.763265472252779e-07,
                                      2.5110049204818658e-08};
  x = max(x, V(-708.0));
  const V shifted = x * V(0x1.71547652b82fep0) + V(detail::round_magic);
  const V n = shifted - V(detail::round_magic);
  const V r = (x - n * V(0x1.62e42fefa38p-1)) - n * V(0x1.ef35793c7673p-45);
  const V fraction = detail::horner(series, r);
  return detail::from_bits(detail::bits_of(fraction) + (detail::bits_of(shifted) << 52));
}

/// Natural logarithm of positive normal numbers.
PESCAPE_INLINE Pack<double> log(Pack<double> x) {
  using V = Pack<double>;
  static constexpr double series[] = {2.0,
                                      0.6666666666666765,
                                      0.3999999999929807,
                                      0.2857142876160948,
                                      0.22222196953363016,
                                      0.181836372994809,
                                      0.1531237773583146,
                                      0.1481128256774903};
  constexpr std::int64_t sqrt_half = 0x3fe6a09e667f3bcd, magic = 0x4338000000000000;
  const detail::Integers bits = detail::bits_of(x);
  const detail::Integers exponent = (bits - sqrt_half) >> 52;
  const V n = detail::from_bits(exponent + magic) - V(detail::round_magic);
  const V m = detail::from_bits(bits - (exponent << 52));
  const V f = (m - V(1.0)) / (m + V(1.0));
  const V mantissa = f * detail::horner(series, f * f);
  return n * V(0x1.62e42fefa38p-1) + (n * V(0x1.ef35793c7673p-45) + mantissa);
}

/// Arc cosine of numbers in [-1, 1].
PESCAPE_INLINE Pack<double> acos(Pack<double> x) {
  using V = Pack<double>;
  // asin(s) / s as a polynomial of s^2, for s up to 1/2.
  static constexpr double series[] = {1.0,
                                      0.16666666666664923,
                                      0.0750000000038916,
                                      0.044642856802810736,
                                      0.030381959829623176,
                                      0.022371746526791348,
                                      0.017359828834431098,
                                      0.013884347815356062,
                                      0.012173450635390269,
                                      0.006514707600608953,
                                      0.019554144452084827,
                                      -0.01625236460641991,
                                      0.03192492847998237};
  constexpr double pi = 3.14159265358979323846;
  const V size = max(x, V(0.0) - x);
  const auto large = size.v > V(0.5).v;
  const V half = V(0.5) - V(0.5) * size;
  const V u = V(V::Register(large ? half.v : (size * size).v));
  const V s = V(V::Register(large ? sqrt(half).v : size.v));
  const V arc = s * detail::horner(series, u);
  const V angle = V(V::Register(large ? (arc + arc).v : (V(0.5 * pi) - arc).v));
  return V(V::Register(x.v < V(0.0).v ? (V(pi) - angle).v : angle.v));
}

}  // namespace pescape
