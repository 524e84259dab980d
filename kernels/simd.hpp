// Numbers that hold one value for each of several atoms: SIMD lanes, masks of lanes, the wanted
// lanes of a pack one after another in memory and back again, and first-order duals.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace pescape {

#if defined(__AVX512F__)
inline constexpr std::size_t simd_bytes = 64;
#elif defined(__AVX__)
inline constexpr std::size_t simd_bytes = 32;
#else
inline constexpr std::size_t simd_bytes = 16;
#endif

#define PESCAPE_INLINE inline __attribute__((always_inline))

template <class T>
struct VectorRegister;
template <>
struct VectorRegister<double> {
  typedef double Type __attribute__((vector_size(simd_bytes)));
};
template <>
struct VectorRegister<float> {
  typedef float Type __attribute__((vector_size(simd_bytes)));
};

/// As many values of T as one vector register holds.
template <class T>
struct Pack {
  using Register = typename VectorRegister<T>::Type;
  static constexpr int lanes = int(simd_bytes / sizeof(T));

  Register v;

  Pack() = default;
  PESCAPE_INLINE Pack(Register r) : v(r) {}
  PESCAPE_INLINE Pack(T s) : v(s - Register{}) {}

  static PESCAPE_INLINE Pack convert(const double* p) {
    Pack r;
    for (int l = 0; l < lanes; ++l) r.v[l] = T(p[l]);
    return r;
  }
  PESCAPE_INLINE T operator[](int lane) const { return v[lane]; }
  PESCAPE_INLINE void set(int lane, T s) { v[lane] = s; }

  PESCAPE_INLINE Pack& operator+=(Pack o) { return v += o.v, *this; }
  PESCAPE_INLINE Pack& operator-=(Pack o) { return v -= o.v, *this; }
  friend PESCAPE_INLINE Pack operator+(Pack a, Pack b) { return Pack(Register(a.v + b.v)); }
  friend PESCAPE_INLINE Pack operator-(Pack a, Pack b) { return Pack(Register(a.v - b.v)); }
  friend PESCAPE_INLINE Pack operator*(Pack a, Pack b) { return Pack(Register(a.v * b.v)); }
  friend PESCAPE_INLINE Pack operator/(Pack a, Pack b) { return Pack(Register(a.v / b.v)); }
  friend PESCAPE_INLINE Pack operator*(T s, Pack b) { return Pack(s) * b; }
};

template <class T>
PESCAPE_INLINE Pack<T> sqrt(Pack<T> a) {
  for (int l = 0; l < Pack<T>::lanes; ++l) a.v[l] = std::sqrt(a.v[l]);
  return a;
}

/// Whether any lane of a is less than that of b.
template <class T>
PESCAPE_INLINE bool any_less(Pack<T> a, Pack<T> b) {
  bool found = false;
  for (int l = 0; l < Pack<T>::lanes; ++l) found |= a[l] < b[l];
  return found;
}

/// A value and its derivative along one direction (forward-mode differentiation).
template <class P>
struct Dual {
  P value, tangent;

  Dual() = default;
  PESCAPE_INLINE Dual(P v, P t) : value(v), tangent(t) {}
  template <class S>
  PESCAPE_INLINE Dual(S constant) : value(constant), tangent(S(0)) {}

  PESCAPE_INLINE Dual& operator+=(Dual o) {
    value += o.value;
    tangent += o.tangent;
    return *this;
  }
  PESCAPE_INLINE Dual& operator-=(Dual o) {
    value -= o.value;
    tangent -= o.tangent;
    return *this;
  }
  friend PESCAPE_INLINE Dual operator+(Dual a, Dual b) {
    return {a.value + b.value, a.tangent + b.tangent};
  }
  friend PESCAPE_INLINE Dual operator-(Dual a, Dual b) {
    return {a.value - b.value, a.tangent - b.tangent};
  }
  friend PESCAPE_INLINE Dual operator*(Dual a, Dual b) {
    return {a.value * b.value, a.value * b.tangent + a.tangent * b.value};
  }
};

/// The scalar type behind a number in lanes, and how many atoms it holds.
template <class V>
struct Numeric;
template <class T>
struct Numeric<Pack<T>> {
  using Scalar = T;
  static constexpr int lanes = Pack<T>::lanes;
};
template <class P>
struct Numeric<Dual<P>> {
  using Scalar = typename Numeric<P>::Scalar;
  static constexpr int lanes = Numeric<P>::lanes;
};

/// A scalar coefficient times a number in lanes (never a full dual product).
template <class T>
PESCAPE_INLINE Pack<T> scale(T s, Pack<T> a) {
  return Pack<T>(s) * a;
}
template <class T>
PESCAPE_INLINE Dual<Pack<T>> scale(T s, Dual<Pack<T>> a) {
  return {scale(s, a.value), scale(s, a.tangent)};
}

/// Bit l stands for lane l.
using LaneMask = unsigned;

/// The first `count` lanes, at most all.
PESCAPE_INLINE LaneMask first_lanes(int count) {
  return count >= Pack<double>::lanes ? (1u << Pack<double>::lanes) - 1u : (1u << count) - 1u;
}

PESCAPE_INLINE Pack<double> load(const double* p) {
  Pack<double> r;
  std::memcpy(&r.v, p, sizeof r.v);
  return r;
}
PESCAPE_INLINE void store(double* p, Pack<double> a) { std::memcpy(p, &a.v, sizeof a.v); }

PESCAPE_INLINE double sum(Pack<double> a) {
  double total = 0.0;
  for (int l = 0; l < Pack<double>::lanes; ++l) total += a[l];
  return total;
}

/// Lanes in which a < b.
PESCAPE_INLINE LaneMask less(Pack<double> a, Pack<double> b) {
#if defined(__AVX512F__)
  return _mm512_cmp_pd_mask(__m512d(a.v), __m512d(b.v), _CMP_LT_OQ);
#else
  LaneMask mask = 0;
  for (int l = 0; l < Pack<double>::lanes; ++l) mask |= unsigned(a[l] < b[l]) << l;
  return mask;
#endif
}

/// Writes the lanes of the mask to p, p + 1, ...; up to a full pack is overwritten.
PESCAPE_INLINE void compress(double* p, Pack<double> a, LaneMask mask) {
#if defined(__AVX512F__)
  _mm512_storeu_pd(p, _mm512_maskz_compress_pd(__mmask8(mask), __m512d(a.v)));
#else
  for (int l = 0; l < Pack<double>::lanes; ++l) {
    *p = a[l];
    p += (mask >> l) & 1u;
  }
#endif
}

/// Reads p, p + 1, ... into the lanes of the mask; the others are zero. A full pack is read.
PESCAPE_INLINE Pack<double> expand(const double* p, LaneMask mask) {
#if defined(__AVX512F__)
  return Pack<double>(
      Pack<double>::Register(_mm512_maskz_expand_pd(__mmask8(mask), _mm512_loadu_pd(p))));
#else
  Pack<double> r(0.0);
  for (int l = 0; l < Pack<double>::lanes; ++l)
    if ((mask >> l) & 1u) r.set(l, *p++);
  return r;
#endif
}

/// The lanes of the mask; the others are zero, whatever they were.
PESCAPE_INLINE Pack<double> keep(Pack<double> a, LaneMask mask) {
#if defined(__AVX512F__)
  return Pack<double>(Pack<double>::Register(_mm512_maskz_mov_pd(__mmask8(mask), __m512d(a.v))));
#else
  for (int l = 0; l < Pack<double>::lanes; ++l)
    if (!((mask >> l) & 1u)) a.set(l, 0.0);
  return a;
#endif
}

PESCAPE_INLINE int count(LaneMask mask) { return __builtin_popcount(mask); }

}  // namespace pescape
