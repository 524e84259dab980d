// Extrapolation grades as a blocked matrix product: of each row of B the largest entry of |B A^-1|,
// or the square of B W, its leverage.
//
// In double precision throughout: inverses of active sets are so ill-conditioned that the products
// nearly cancel (by 1e4 and more at level 26), which single precision does not survive even as a
// first guess.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "simd.hpp"

namespace pescape {

/// What becomes of a row's products with all columns.
enum class GradeNorm { largest, leverage };

/// The matrix that grades come from, packed in column panels for repeated products.
class GradeMatrix {
  using P = Pack<double>;
  static constexpr int panel_packs = 2, panel = panel_packs * P::lanes;
  static constexpr int row_block = 12;

 public:
  /// Rows that are graded together best: the inverse is read once for all of them.
  static constexpr std::size_t chunk_rows = 240;

  GradeMatrix() = default;

  /// `matrix` is A^-1 or W, n x n, row-major.
  GradeMatrix(int n, const double* matrix, GradeNorm norm = GradeNorm::largest)
      : n_(n),
        panels_((n + panel - 1) / panel),
        norm_(norm),
        packed_(std::size_t(panels_) * n * panel_packs) {
    for (int q = 0; q < panels_ * panel; ++q)
      for (int k = 0; k < n; ++k)
        packed_[(std::size_t(q / panel) * n + k) * panel_packs + q % panel / P::lanes].set(
            q % P::lanes, q < n ? matrix[std::size_t(k) * n + q] : 0.0);
  }

  int size() const { return n_; }

  /// out[r] = max_q | sum_k rows[r][k] A^-1[k][q] | for `count` rows of length n, row-major, or
  /// the sum of the squares over q.
  /// A NaN anywhere in a row makes its grade NaN.
  void grades(const double* rows, std::size_t count, double* out) const {
    std::fill_n(out, count, 0.0);
    for (int q = 0; q < panels_; ++q) {
      std::size_t r = 0;
      for (; r + row_block <= count; r += row_block) update<row_block>(q, rows + r * n_, out + r);
      for (; r + 4 <= count; r += 4) update<4>(q, rows + r * n_, out + r);
      for (; r < count; ++r) update<1>(q, rows + r * n_, out + r);
    }
  }

 private:
  template <int R>
  void update(int q, const double* rows, double* out) const {
    P sum[R][panel_packs];
    for (int r = 0; r < R; ++r)
      for (int p = 0; p < panel_packs; ++p) sum[r][p] = P(0.0);
    const P* column = &packed_[std::size_t(q) * n_ * panel_packs];
    for (int k = 0; k < n_; ++k, column += panel_packs)
      for (int r = 0; r < R; ++r)
        for (int p = 0; p < panel_packs; ++p)
          sum[r][p] += rows[std::size_t(r) * n_ + k] * column[p];
    if (norm_ == GradeNorm::leverage) {
      for (int r = 0; r < R; ++r)
        for (int p = 0; p < panel_packs; ++p)
          for (int l = 0; l < P::lanes; ++l) out[r] += sum[r][p][l] * sum[r][p][l];
      return;
    }
    for (int r = 0; r < R; ++r)
      for (int p = 0; p < panel_packs; ++p)
        for (int l = 0; l < P::lanes; ++l) {
          const double a = std::fabs(sum[r][p][l]);
          if (!(a <= out[r])) out[r] = std::isnan(out[r]) ? out[r] : a;
        }
  }

  int n_ = 0, panels_ = 0;
  GradeNorm norm_ = GradeNorm::largest;
  std::vector<P> packed_;
};

}  // namespace pescape
