// What keeps a fitted potential from filling holes it does not know of: where an atom is surrounded
// more densely than any atom of the training data, its fitted energy fades and a wall rises.
//
//   rho_ij(species j) = sum_j (1 - r^2 / R^2)^3                      how dense its neighbourhood is
//   y = max(0, rho / densest - (1 + margin)),   X = sum over species j of y^3
//   s = exp(-X / fading),   E_i = s E_i(fitted) + (1 - s) summit + wall X
//
// The summit is the highest energy of an atom of its species in the training data: energies fade
// upwards. All are relative to the energy of the isolated atom.
//
// Within the training data, and a margin beyond it, X is zero and nothing changes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <vector>

#include "simd.hpp"

namespace pescape {

class Crowding {
 public:
  static constexpr double margin = 0.1, fading = 2e-3;
  static constexpr double wall = 1000.0;  ///< eV
  /// Densities below it, those of pairs that were hardly ever seen, count as this one.
  static constexpr double least = 0.5;

  /// `densest` holds the largest rho in the training data of each ordered pair of species,
  /// `summits` the highest energy of each species (eV); `cutoff` is R in Å.
  Crowding(int species_count, double cutoff, const std::vector<double>& densest,
           const std::vector<double>& summits)
      : species_count_(species_count),
        inverse_square_(1.0 / (cutoff * cutoff)),
        densest_(densest),
        summits_(summits) {
    if (densest_.size() != std::size_t(species_count) * species_count)
      throw std::invalid_argument("densest must hold one number per pair of species");
    if (summits_.size() != std::size_t(species_count))
      throw std::invalid_argument("summits must hold one number per species");
    for (double& rho : densest_) {
      if (!(rho >= 0.0 && std::isfinite(rho)))
        throw std::invalid_argument("densest must hold numbers that are not negative");
      rho = std::max(rho, least);
    }
  }

  double densest(int zi, int zj) const { return densest_[std::size_t(zi) * species_count_ + zj]; }

  const std::vector<double>& summits() const { return summits_; }

  /// rho beyond which neighbours of species zj crowd an atom of species zi.
  double limit(int zi, int zj) const { return (1.0 + margin) * densest(zi, zj); }

  /// What neighbours within the cut-off at squared distances (Å²) add to rho.
  template <class T>
  PESCAPE_INLINE Pack<T> weight(Pack<T> r2) const {
    const Pack<T> u = Pack<T>(T(1)) - Pack<T>(T(inverse_square_)) * r2;
    return u * u * u;
  }

  /// Its derivative with respect to a component of the distance, over that component.
  double slope(double r2) const {
    const double u = std::max(1.0 - inverse_square_ * r2, 0.0);
    return -6.0 * inverse_square_ * u * u;
  }

  /// What becomes of the fitted energy of an atom.
  struct Response {
    double excess = 0.0;  ///< X
    double fitted = 1.0;  ///< factor s of the gradient of the fitted energy
    double energy = 0.0;  ///< E_i (eV)
    double slope = 0.0;   ///< dE_i/dX (eV)
  };
  /// Of an atom of species zi with densities rho[zj] and a fitted energy (eV).
  Response response(int zi, const double* rho, double energy) const {
    Response at;
    for (int zj = 0; zj < species_count_; ++zj) at.excess += std::pow(beyond(zi, zj, rho[zj]), 3);
    at.fitted = std::exp(-at.excess / fading);
    at.energy = at.fitted * energy + (1.0 - at.fitted) * summits_[zi] + wall * at.excess;
    at.slope = wall + (summits_[zi] - energy) * at.fitted / fading;
    return at;
  }
  /// dX/drho[zj]
  double excess_slope(int zi, int zj, double rho) const {
    return 3.0 * std::pow(beyond(zi, zj, rho), 2) / densest(zi, zj);
  }

 private:
  /// y
  double beyond(int zi, int zj, double rho) const {
    return std::max(rho / densest(zi, zj) - (1.0 + margin), 0.0);
  }

  int species_count_;
  double inverse_square_;
  std::vector<double> densest_, summits_;
};

}  // namespace pescape
