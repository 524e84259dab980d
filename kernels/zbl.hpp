// The screened repulsion of nuclei after Ziegler, Biersack and Littmark, switched off smoothly.
//
//   E(r) = K Z_i Z_j / r * phi(r / a) + S(r),   a = 0.4685 Å / (Z_i^0.23 + Z_j^0.23)
//
// phi is the universal screening function of The Stopping and Range of Ions in Solids (1985). S is
// constant below `inner`; from there to `outer` a polynomial brings E, E' and E'' to zero. Numbers
// are those of LAMMPS' pair_style zbl in metal units. Each pair of elements may have an inner and
// an outer distance of its own.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <vector>

#include "math.hpp"
#include "simd.hpp"

namespace pescape {

class ZBL {
 public:
  /// `atomic_numbers` of species 0, 1, ...; distances in Å for each ordered pair of species,
  /// 0 < inner < outer.
  ZBL(const std::vector<int>& atomic_numbers, const std::vector<double>& inner,
      const std::vector<double>& outer)
      : species_count_(int(atomic_numbers.size())) {
    const std::size_t count = atomic_numbers.size() * atomic_numbers.size();
    if (inner.size() != count || outer.size() != count)
      throw std::invalid_argument("zbl: one inner and one outer distance per pair is required");
    for (int first : atomic_numbers)
      for (int second : atomic_numbers) {
        const double from = inner[pairs_.size()], to = outer[pairs_.size()];
        if (!(from > 0.0 && from < to && std::isfinite(to)))
          throw std::invalid_argument("zbl: 0 < inner < outer is required");
        pairs_.push_back(pair_of(first, second, from, to));
        outer_ = std::max(outer_, to);
      }
  }

  int species_count() const { return species_count_; }
  double inner(int zi, int zj) const { return pair(zi, zj).inner; }
  double outer(int zi, int zj) const { return pair(zi, zj).outer; }
  /// The largest of all pairs.
  double outer() const { return outer_; }

  /// Hands over halves of the pairs' energies as those of atoms i, for neighbours nearer than
  /// outer: `atom(lane)` and `neighbor(lane)` are i and j, the latter negative where there is none,
  /// and x, y, z hold components of r_j - r_i, one for each of `lanes` pairs of species zi and zj.
  template <class V, class Atom, class Neighbor, class Sink>
  void repel(int zi, int zj, int lanes, const double* x, const double* y, const double* z,
             const Atom& atom, const Neighbor& neighbor, Sink& sink) const {
    const Pair& pair = this->pair(zi, zj);
    for (int first = 0; first < lanes; first += width<V>) {
      const V dx = load<V>(x + first), dy = load<V>(y + first), dz = load<V>(z + first);
      const V r = root(dx * dx + dy * dy + dz * dz);
      const Jet<V> e = switched(pair, r);
      const V half = V(0.5) * e[0], pull = V(0.5) * e[1] / r;
      for (int lane = 0; lane < std::min(width<V>, lanes - first); ++lane) {
        const int l = first + lane, j = neighbor(l);
        if (j < 0 || !(entry(r, lane) < pair.outer)) continue;
        const double p = entry(pull, lane);
        sink.site_energy(atom(l), entry(half, lane));
        sink.pair(atom(l), j, x[l], y[l], z[l], p * x[l], p * y[l], p * z[l]);
      }
    }
  }

 private:
  /// An energy (eV) and its first and second derivative with respect to r (Å).
  template <class V>
  using Jet = std::array<V, 3>;

  struct Pair {
    double inner, outer;                    ///< Å
    double charge;                          ///< eV Å, K Z_i Z_j
    double inverse_length;                  ///< 1/Å, 1 / a
    double cubic, quartic, constant = 0.0;  ///< S' = cubic t^2 + quartic t^3, t = r - inner
  };

  // A number is a double or a pack of doubles.
  template <class V>
  static constexpr int width = int(sizeof(V) / sizeof(double));
  template <class V>
  static V load(const double* p) {
    if constexpr (width<V> == 1)
      return *p;
    else
      return V::convert(p);
  }
  static double entry(double a, int) { return a; }
  static double entry(Pack<double> a, int lane) { return a[lane]; }
  static double root(double a) { return std::sqrt(a); }
  static Pack<double> root(Pack<double> a) { return sqrt(a); }

  template <class V>
  static Jet<V> screened(const Pair& pair, V r) {
    using std::exp;
    static constexpr double terms[4][2] = {
        {0.18175, 3.19980}, {0.50986, 0.94229}, {0.28022, 0.40290}, {0.02817, 0.20162}};
    Jet<V> phi{V(0.0), V(0.0), V(0.0)};
    for (const auto& [weight, decay] : terms) {
      const double rate = decay * pair.inverse_length;
      const V term = V(weight) * exp(V(-rate) * r);
      phi[0] += term, phi[1] -= V(rate) * term, phi[2] += V(rate * rate) * term;
    }
    const V inverse = V(1.0) / r, coulomb = V(pair.charge) * inverse;
    const V slope = phi[1] - phi[0] * inverse;
    return {coulomb * phi[0], coulomb * slope, coulomb * (phi[2] - V(2.0) * inverse * slope)};
  }

  template <class V>
  static Jet<V> switched(const Pair& pair, V r) {
    using std::max;
    const V t = max(r - V(pair.inner), V(0.0)), cubic(pair.cubic), quartic(pair.quartic);
    Jet<V> e = screened(pair, r);
    e[0] += V(pair.constant) + t * t * t * (V(1.0 / 3.0) * cubic + V(0.25) * quartic * t);
    e[1] += t * t * (cubic + quartic * t);
    e[2] += t * (V(2.0) * cubic + V(3.0) * quartic * t);
    return e;
  }

  const Pair& pair(int zi, int zj) const { return pairs_[std::size_t(zi) * species_count_ + zj]; }

  static Pair pair_of(int first, int second, double inner, double outer) {
    static constexpr double coulomb = 14.399645;  // eV Å, e^2 / (4 pi epsilon_0)
    static constexpr double length = 0.46850, power = 0.23;
    Pair pair{inner,
              outer,
              coulomb * first * second,
              (std::pow(first, power) + std::pow(second, power)) / length,
              0.0,
              0.0};
    const Jet<double> e = screened(pair, outer);
    const double width = outer - inner;
    pair.cubic = (-3.0 * e[1] + width * e[2]) / (width * width);
    pair.quartic = (2.0 * e[1] - width * e[2]) / (width * width * width);
    pair.constant = -e[0] + 0.5 * width * e[1] - width * width * e[2] / 12.0;
    return pair;
  }

  double outer_ = 0.0;
  int species_count_;
  std::vector<Pair> pairs_;  ///< [species of i][species of j]
};

}  // namespace pescape
