// Numbers that hold one value for each of several atoms: SIMD lanes and first-order duals of them.
#pragma once

#include <cmath>
#include <cstddef>

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

}  // namespace pescape
