// Leaving out lanes: a pack's wanted values one after another in memory, and back again.
#pragma once

#include <cstring>

#include "simd.hpp"
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace pescape {

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
