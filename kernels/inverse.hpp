// Whether two matrices are what a file says they are.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

namespace pescape {

/// Whether the row-major (n, n) matrices are each other's inverse: w A A^-1 has to be w. A damaged
/// digit in either one would give wrong grades.
inline bool are_inverse(std::size_t n, const double* matrix, const double* inverse) {
  constexpr double tolerance = 1e-3;  // condition numbers of 1e9 leave some 1e-8
  std::vector<double> through(n, 0.0), back(n, 0.0);
  const auto weight = [](std::size_t row) { return row % 2 ? 1.0 : -1.0; };
  for (std::size_t row = 0; row < n; ++row)
    for (std::size_t k = 0; k < n; ++k) through[k] += weight(row) * matrix[row * n + k];
  for (std::size_t k = 0; k < n; ++k)
    for (std::size_t row = 0; row < n; ++row) back[row] += through[k] * inverse[k * n + row];
  for (std::size_t row = 0; row < n; ++row)
    if (!(std::fabs(back[row] - weight(row)) < tolerance)) return false;
  return true;
}

}  // namespace pescape
