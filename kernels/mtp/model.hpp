// A moment tensor potential as plain data, exactly as its file states it.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <vector>

#include "crowding.hpp"
#include "zbl.hpp"

namespace pescape::mtp {

/// One basic moment M_k = sum_j f_mu(r) x^a y^b z^c / r^(a+b+c).
struct BasicMoment {
  int mu, a, b, c;
};

/// One step of the contraction list: moment[out] += multiplicity * moment[left] * moment[right].
struct Product {
  int left, right;
  double multiplicity;
  int out;
};

/// The potential's graph and coefficients. Species are 0 .. species_count-1.
struct Model {
  int species_count = 0;
  double min_dist = 0.0;  ///< Å
  double max_dist = 0.0;  ///< Å, the cut-off
  double scaling = 1.0;
  int radial_basis_size = 0;
  int radial_funcs_count = 0;
  std::vector<double> radial_coeffs;  ///< [species i][species j][mu][n]; empty when untrained

  int moments_count = 0;
  std::vector<BasicMoment> basic;   ///< moments 0 .. basic.size()-1
  std::vector<Product> products;    ///< in an order that can be evaluated
  std::vector<int> scalar_moments;  ///< moments that are basis functions

  std::vector<double> species_coeffs;  ///< eV, one per species
  std::vector<double> moment_coeffs;   ///< one per scalar moment

  /// Beside what is fitted. With it, radial functions come to rest just below `nearest`.
  std::optional<ZBL> repulsion;
  /// Shortest distances (Å) in the training data, of each ordered pair of species; min_dist where
  /// it is empty.
  std::vector<double> nearest;
  /// How dense neighbourhoods are in the training data; beyond it the fitted energy fades.
  std::optional<Crowding> crowding;
  bool adds_repulsion = true;  ///< false while it is fitted to labels that lack the repulsion

  std::size_t radial_size() const {
    return std::size_t(species_count) * species_count * radial_funcs_count * radial_basis_size;
  }
  /// Fitted parameters, in the order radial, species, moments.
  std::size_t parameter_count() const {
    return radial_size() + std::size_t(species_count) + scalar_moments.size();
  }
};

}  // namespace pescape::mtp
