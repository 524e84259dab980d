// The neighbours of one atom, sorted by species, one array per quantity.
#pragma once

#include <cstddef>
#include <vector>

#include "bpnn/cutoff.hpp"
#include "bpnn/plan.hpp"
#include "simd.hpp"

namespace pescape::bpnn {

/// Arrays have room for a full pack behind their last entry; neighbours there are far away.
class Neighborhood {
 public:
  static constexpr int lanes = Pack<double>::lanes;

  std::vector<int> index;                          ///< as the list names the neighbours
  std::vector<double> x, y, z, r2, inverse_r;      ///< Å
  std::vector<std::vector<double>> cutoff, slope;  ///< per cut-off function; slope by r2

  int size() const { return int(index.size()); }
  int begin(int species) const { return begin_[species]; }
  int end(int species) const { return begin_[species + 1]; }

  template <class List>
  void gather(int atom, const List& list, int species_count, double radius) {
    found_.resize(species_count);
    for (auto& one : found_) one.clear();
    const double limit = radius * radius;
    list.for_each(atom, [&](int j, double dx, double dy, double dz) {
      const int kind = list.species(j);
      const double squared = dx * dx + dy * dy + dz * dz;
      if (kind >= 0 && squared < limit) found_[kind].push_back({j, dx, dy, dz, squared});
    });
    begin_.assign(species_count + 1, 0);
    index.clear();
    for (int s = 0; s < species_count; ++s) {
      for (const Found& one : found_[s]) index.push_back(one.index);
      begin_[s + 1] = int(index.size());
    }
    const std::size_t padded = index.size() + lanes;
    for (auto* array : {&x, &y, &z}) array->assign(padded, 0.0);
    r2.assign(padded, 4.0 * limit);
    inverse_r.assign(padded, 0.5 / radius);
    std::size_t k = 0;
    for (const auto& kind : found_)
      for (const Found& one : kind) {
        x[k] = one.x, y[k] = one.y, z[k] = one.z, r2[k] = one.squared;
        inverse_r[k++] = 1.0 / std::sqrt(one.squared);
      }
  }

  void compute_cutoffs(const std::vector<CutoffFunction>& functions) {
    cutoff.resize(functions.size());
    slope.resize(functions.size());
    for (std::size_t c = 0; c < functions.size(); ++c) {
      cutoff[c].resize(r2.size());
      slope[c].resize(r2.size());
      for (int k = 0; k < size(); k += lanes) {
        const CutoffValue f = cutoff_value(functions[c], load(&r2[k]));
        store(&cutoff[c][k], f.value);
        store(&slope[c][k], f.slope);
      }
      // What the last pack computed for padding is zero: it lies beyond the radius.
    }
  }

 private:
  struct Found {
    int index;
    double x, y, z, squared;
  };
  std::vector<std::vector<Found>> found_;
  std::vector<int> begin_;
};

/// A gradient with respect to the neighbours' positions r_k, as along[k] r_k + across[k].
struct Gradient {
  std::vector<double> along, across_x, across_y, across_z;

  void clear(std::size_t padded) {
    for (auto* array : {&along, &across_x, &across_y, &across_z}) array->assign(padded, 0.0);
  }
};

}  // namespace pescape::bpnn
