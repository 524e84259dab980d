// Extrapolation grades: the largest entry of |B A^-1| in each row of B, as a blocked matrix
// product.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "simd.hpp"

namespace pescape {

/// The columns of a square matrix in panels of two registers, for products with rows from the left.
template <class T>
class ColumnPanels {
 public:
  using V = Pack<T>;
  static constexpr int packs = 2, width = packs * V::lanes;

  ColumnPanels() = default;

  /// `element(k, q)` is the matrix; what exceeds it in the last panel is zero.
  template <class Element>
  ColumnPanels(int n, const Element& element)
      : n_(n), count_((n + width - 1) / width), data_(std::size_t(count_) * n * packs, V(T(0))) {
    for (int q = 0; q < n; ++q)
      for (int k = 0; k < n; ++k)
        data_[(std::size_t(q / width) * n + k) * packs + q % width / V::lanes].set(q % V::lanes,
                                                                                   element(k, q));
  }

  int count() const { return count_; }

  /// Products of R rows with the columns of one panel, in sum[row][pack].
  template <int R>
  void multiply(int panel, const T* const* rows, V (&sum)[R][packs]) const {
    for (int r = 0; r < R; ++r)
      for (int p = 0; p < packs; ++p) sum[r][p] = V(T(0));
    const T* row[R];
    std::copy_n(rows, R, row);
    const V* column = &data_[std::size_t(panel) * n_ * packs];
    for (int k = 0; k < n_; ++k, column += packs)
      for (int r = 0; r < R; ++r)
        for (int p = 0; p < packs; ++p) sum[r][p] += row[r][k] * column[p];
  }

  /// Calls done(first, R, sum) for all rows in blocks of 12, 4 and 1.
  template <class Done>
  void multiply_all(int panel, const T* const* rows, std::size_t count, const Done& done) const {
    std::size_t r = 0;
    for (; r + 12 <= count; r += 12) multiply_block<12>(panel, rows, r, done);
    for (; r + 4 <= count; r += 4) multiply_block<4>(panel, rows, r, done);
    for (; r < count; ++r) multiply_block<1>(panel, rows, r, done);
  }

 private:
  template <int R, class Done>
  void multiply_block(int panel, const T* const* rows, std::size_t first, const Done& done) const {
    V sum[R][packs];
    multiply<R>(panel, rows + first, sum);
    for (int r = 0; r < R; ++r) done(first + r, sum[r]);
  }

  int n_ = 0, count_ = 0;
  std::vector<V> data_;  ///< [panel][k][pack]
};

/// Memory of one thread for grading, kept from call to call.
struct GradeScratch {
  std::vector<const double*> rows, some;
  std::vector<const float*> scaled_rows;
  std::vector<float> scaled, values, norms;
  std::vector<std::vector<std::size_t>> wanted;  ///< [panel]: rows to be evaluated exactly
};

/// The inverse of an active set's matrix, prepared for grading many rows at a time.
///
/// Large sets are screened first: the product in single precision, with a rigorous bound of its
/// error, tells which columns can hold a row's largest entry, and those alone are evaluated in
/// double precision. The result is that of double precision at little more than half of its cost.
class GradeMatrix {
  static constexpr int screen_from = 256;  ///< smaller matrices are not worth it

 public:
  /// Rows that are graded together best: the inverse is read once for all of them.
  static constexpr std::size_t chunk_rows = 240;

  GradeMatrix() = default;

  /// `inverse` is A^-1, n x n, row-major.
  GradeMatrix(int n, const double* inverse)
      : n_(n), exact_(n, [&](int k, int q) { return inverse[std::size_t(k) * n + q]; }) {
    if (n >= screen_from) prepare_screen(inverse);
  }

  int size() const { return n_; }

  /// out[r] = max_q | sum_k rows[r][k] A^-1[k][q] | for `count` rows of length n, row-major.
  /// A NaN anywhere in a row makes its grade NaN.
  void grades(const double* rows, std::size_t count, double* out, GradeScratch& scratch) const {
    std::fill_n(out, count, 0.0);
    std::vector<const double*>& row = scratch.rows;
    row.resize(count);
    for (std::size_t r = 0; r < count; ++r) row[r] = rows + r * n_;
    if (n_ < screen_from) {
      for (int panel = 0; panel < exact_.count(); ++panel)
        update(panel, row.data(), count, [&](std::size_t r) -> double& { return out[r]; });
      return;
    }
    for (std::size_t r = 0; r < count; r += chunk_rows)
      screened_grades(row.data() + r, std::min(chunk_rows, count - r), out + r, scratch);
  }

 private:
  template <class Out>
  void update(int panel, const double* const* rows, std::size_t count, const Out& out) const {
    exact_.multiply_all(panel, rows, count, [&](std::size_t r, const Pack<double>* sum) {
      double& grade = out(r);
      for (int p = 0; p < ColumnPanels<double>::packs; ++p)
        for (int l = 0; l < Pack<double>::lanes; ++l) {
          const double a = std::fabs(sum[p][l]);
          if (!(a <= grade)) grade = std::isnan(grade) ? grade : a;
        }
    });
  }

  /// Rows are scaled to at most 1, so that single precision neither overflows nor loses small ones.
  void prepare_screen(const double* inverse) {
    row_scale_.assign(n_, 0.0);
    for (int k = 0; k < n_; ++k)
      for (int q = 0; q < n_; ++q)
        row_scale_[k] = std::max(row_scale_[k], std::fabs(inverse[std::size_t(k) * n_ + q]));
    std::vector<double> norm(n_, 0.0);
    const auto scaled = [&](int k, int q) {
      return row_scale_[k] > 0.0 ? inverse[std::size_t(k) * n_ + q] / row_scale_[k] : 0.0;
    };
    for (int k = 0; k < n_; ++k)
      for (int q = 0; q < n_; ++q) norm[q] += scaled(k, q) * scaled(k, q);
    screen_ = ColumnPanels<float>(n_, [&](int k, int q) { return float(scaled(k, q)); });
    column_norm_.assign(std::size_t(screen_.count()) * ColumnPanels<float>::width, 0.0f);
    for (int q = 0; q < n_; ++q) column_norm_[q] = float(std::sqrt(norm[q]));
  }

  void screened_grades(const double* const* rows, std::size_t count, double* out,
                       GradeScratch& scratch) const {
    const std::size_t columns = column_norm_.size();
    constexpr int width = ColumnPanels<float>::width;
    scratch.scaled.resize(count * n_);
    scratch.values.resize(count * columns);
    scratch.norms.resize(count);
    scratch.scaled_rows.resize(count);
    scratch.wanted.resize(exact_.count());
    for (auto& list : scratch.wanted) list.clear();
    for (std::size_t r = 0; r < count; ++r) {
      scratch.scaled_rows[r] = &scratch.scaled[r * n_];
      scratch.norms[r] = scale_row(rows[r], &scratch.scaled[r * n_]);
    }
    for (int panel = 0; panel < screen_.count(); ++panel)
      screen_.multiply_all(panel, scratch.scaled_rows.data(), count,
                           [&](std::size_t r, const Pack<float>* sum) {
                             std::memcpy(&scratch.values[r * columns + std::size_t(panel) * width],
                                         sum, width * sizeof(float));
                           });
    for (std::size_t r = 0; r < count; ++r)
      mark_panels(&scratch.values[r * columns], scratch.norms[r], r, scratch.wanted);
    for (int panel = 0; panel < exact_.count(); ++panel) {
      const std::vector<std::size_t>& wanted = scratch.wanted[panel];
      scratch.some.clear();
      for (std::size_t r : wanted) scratch.some.push_back(rows[r]);
      update(panel, scratch.some.data(), wanted.size(),
             [&](std::size_t r) -> double& { return out[wanted[r]]; });
    }
  }

  /// Writes the row in the screen's scale, largest entry 1; returns its norm (NaN if not finite).
  float scale_row(const double* row, float* out) const {
    double largest = 0.0, sum = 0.0;
    for (int k = 0; k < n_; ++k) {
      const double a = std::fabs(row[k] * row_scale_[k]);
      largest = std::max(largest, a);
      sum += a;
    }
    if (!std::isfinite(sum)) return std::numeric_limits<float>::quiet_NaN();
    const double factor = largest > 0.0 ? 1.0 / largest : 0.0;
    double norm = 0.0;
    for (int k = 0; k < n_; ++k) {
      const double a = row[k] * row_scale_[k] * factor;
      out[k] = float(a);
      norm += a * a;
    }
    return float(std::sqrt(norm));
  }

  /// Adds the row to the panels that can hold its largest entry: the error of a product of length n
  /// in precision u is at most (n + 3) u times the norms of its two factors.
  void mark_panels(const float* values, float row_norm, std::size_t row,
                   std::vector<std::vector<std::size_t>>& wanted) const {
    constexpr int width = ColumnPanels<double>::width;
    if (std::isnan(row_norm)) return wanted[0].push_back(row);  // the exact product says NaN
    const float slack =
        1.01f * float(n_ + 3) * (std::numeric_limits<float>::epsilon() / 2) * row_norm;
    float least = 0.0f;
    for (int q = 0; q < n_; ++q)
      least = std::max(least, std::fabs(values[q]) - slack * column_norm_[q]);
    for (int panel = 0; panel < exact_.count(); ++panel) {
      float most = 0.0f;
      for (int q = panel * width; q < std::min(n_, (panel + 1) * width); ++q)
        most = std::max(most, std::fabs(values[q]) + slack * column_norm_[q]);
      if (most >= least) wanted[panel].push_back(row);
    }
  }

  int n_ = 0;
  ColumnPanels<double> exact_;
  ColumnPanels<float> screen_;
  std::vector<double> row_scale_;
  std::vector<float> column_norm_;
};

}  // namespace pescape
