// The screened repulsion of nuclei after Ziegler, Biersack and Littmark, switched off smoothly.
//
//   E(r) = K Z_i Z_j / r * phi(r / a) + S(r),   a = 0.4685 Å / (Z_i^0.23 + Z_j^0.23)
//
// phi is the universal screening function of The Stopping and Range of Ions in Solids (1985). S is
// constant below `inner`; from there to `outer` a polynomial brings E, E' and E'' to zero. Numbers
// are those of LAMMPS' pair_style zbl in metal units.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <vector>

namespace pescape {

class ZBL {
 public:
  /// An energy (eV) or distance (Å) and its first and second derivative with respect to r.
  using Jet = std::array<double, 3>;

  /// `atomic_numbers` of species 0, 1, ...; distances in Å, 0 < inner < outer.
  ZBL(const std::vector<int>& atomic_numbers, double inner, double outer)
      : inner_(inner), outer_(outer), species_count_(int(atomic_numbers.size())) {
    if (!(inner > 0.0 && inner < outer && std::isfinite(outer)))
      throw std::invalid_argument("zbl: 0 < inner < outer is required");
    for (int first : atomic_numbers)
      for (int second : atomic_numbers) pairs_.push_back(pair_of(first, second));
  }

  int species_count() const { return species_count_; }
  double inner() const { return inner_; }
  double outer() const { return outer_; }

  /// Energy of a pair of species, E, and E'; E'' too, which nothing but the switching needs.
  Jet operator()(int zi, int zj, double r) const {
    if (r >= outer_) return {0.0, 0.0, 0.0};
    const Pair& pair = pairs_[std::size_t(zi) * species_count_ + zj];
    Jet e = screened(pair, r);
    const double t = r > inner_ ? r - inner_ : 0.0;
    e[0] += pair.constant + t * t * t * (pair.cubic / 3.0 + pair.quartic / 4.0 * t);
    e[1] += t * t * (pair.cubic + pair.quartic * t);
    e[2] += t * (2.0 * pair.cubic + 3.0 * pair.quartic * t);
    return e;
  }

  /// Hands over half of a pair's energy as that of atom i, if j at r_j - r_i = (x, y, z) is near.
  template <class Sink>
  void repel(int i, int zi, int j, int zj, double x, double y, double z, Sink& sink) const {
    const double r = std::sqrt(x * x + y * y + z * z);
    if (!(r < outer_)) return;
    const Jet e = (*this)(zi, zj, r);
    const double pull = 0.5 * e[1] / r;
    sink.site_energy(i, 0.5 * e[0]);
    sink.pair(i, j, x, y, z, pull * x, pull * y, pull * z);
  }

 private:
  struct Pair {
    double charge;                          ///< eV Å, K Z_i Z_j
    double inverse_length;                  ///< 1/Å, 1 / a
    double cubic, quartic, constant = 0.0;  ///< S' = cubic t^2 + quartic t^3, t = r - inner
  };

  static Jet screened(const Pair& pair, double r) {
    static constexpr double terms[4][2] = {
        {0.18175, 3.19980}, {0.50986, 0.94229}, {0.28022, 0.40290}, {0.02817, 0.20162}};
    Jet phi{0.0, 0.0, 0.0};
    for (const auto& [weight, decay] : terms) {
      const double rate = decay * pair.inverse_length, term = weight * std::exp(-rate * r);
      phi[0] += term, phi[1] -= rate * term, phi[2] += rate * rate * term;
    }
    const double inverse = 1.0 / r, coulomb = pair.charge * inverse;
    return {coulomb * phi[0], coulomb * (phi[1] - phi[0] * inverse),
            coulomb * (phi[2] - 2.0 * inverse * (phi[1] - phi[0] * inverse))};
  }

  Pair pair_of(int first, int second) const {
    static constexpr double coulomb = 14.399645;  // eV Å, e^2 / (4 pi epsilon_0)
    static constexpr double length = 0.46850, power = 0.23;
    Pair pair{coulomb * first * second, (std::pow(first, power) + std::pow(second, power)) / length,
              0.0, 0.0};
    const Jet e = screened(pair, outer_);
    const double width = outer_ - inner_;
    pair.cubic = (-3.0 * e[1] + width * e[2]) / (width * width);
    pair.quartic = (2.0 * e[1] - width * e[2]) / (width * width * width);
    pair.constant = -e[0] + 0.5 * width * e[1] - width * width * e[2] / 12.0;
    return pair;
  }

  double inner_, outer_;
  int species_count_;
  std::vector<Pair> pairs_;  ///< [species of i][species of j]
};

}  // namespace pescape
