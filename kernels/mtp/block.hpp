// Neighbourhoods of a few atoms of one species, one atom per SIMD lane, padded to equal length.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "simd.hpp"

namespace pescape::mtp {

struct Neighbor {
  int index, species;
  double x, y, z;  ///< r_j - r_i in Å
};

/// The neighbours within the cut-off of up to `lanes` atoms that share a species.
template <int lanes>
struct AtomGroup {
  int atoms[lanes];
  int used = 0;
  int counts[lanes];
  std::vector<Neighbor> neighbors[lanes];

  /// Adds an atom; `neighbors.for_each(i, f)` offers candidates beyond the cut-off too.
  template <class Neighbors>
  void add(int atom, const Neighbors& list, double cutoff) {
    const double limit = cutoff * cutoff;
    std::vector<Neighbor>& mine = neighbors[used];
    int n = 0;
    if (mine.empty()) mine.resize(64);
    list.for_each(atom, [&](int j, double x, double y, double z) {
      // Write first, count afterwards: no branch to mispredict.
      const int species = list.species(j);
      const double r2 = x * x + y * y + z * z;
      mine[n] = {j, species, x, y, z};
      n += int(r2 < limit) & int(species >= 0);
      if (n == int(mine.size())) mine.resize(2 * n);
    });
    atoms[used] = atom;
    counts[used++] = n;
  }
};

/// The same neighbourhoods laid out by slot: slot s holds one neighbour (or padding) of each atom.
/// All neighbours in a slot are of one species. Padding sits at the cut-off, where f = f' = 0.
template <int lanes>
class SlotLayout {
 public:
  int slots() const { return slots_; }
  int species(int slot) const { return species_[slot]; }
  /// Atom index of the neighbour, or -1 for padding.
  int index(int slot, int lane) const { return index_[slot * lanes + lane]; }
  const double* x(int slot) const { return &position_[(3 * slot + 0) * lanes]; }
  const double* y(int slot) const { return &position_[(3 * slot + 1) * lanes]; }
  const double* z(int slot) const { return &position_[(3 * slot + 2) * lanes]; }

  void arrange(const AtomGroup<lanes>& group, int species_count, double cutoff) {
    count_.assign(std::size_t(species_count) * lanes, 0);
    for (int lane = 0; lane < group.used; ++lane)
      for (int k = 0; k < group.counts[lane]; ++k)
        ++count_[group.neighbors[lane][k].species * lanes + lane];
    slots_ = 0;
    species_.clear();
    first_.clear();
    for (int z = 0; z < species_count; ++z) {
      const int widest = *std::max_element(&count_[z * lanes], &count_[z * lanes] + lanes);
      first_.push_back(slots_);
      species_.insert(species_.end(), widest, z);
      slots_ += widest;
    }
    place(group, cutoff);
  }

 private:
  void place(const AtomGroup<lanes>& group, double cutoff) {
    index_.assign(std::size_t(slots_) * lanes, -1);
    position_.assign(std::size_t(slots_) * lanes * 3, 0.0);
    for (int s = 0; s < slots_; ++s)
      std::fill_n(&position_[std::size_t(3 * s) * lanes], lanes, cutoff);
    for (int lane = 0; lane < group.used; ++lane) {
      next_ = first_;
      for (int k = 0; k < group.counts[lane]; ++k) {
        const Neighbor& n = group.neighbors[lane][k];
        const std::size_t slot = next_[n.species]++;
        index_[slot * lanes + lane] = n.index;
        position_[(3 * slot + 0) * lanes + lane] = n.x;
        position_[(3 * slot + 1) * lanes + lane] = n.y;
        position_[(3 * slot + 2) * lanes + lane] = n.z;
      }
    }
  }

  int slots_ = 0;
  std::vector<int> species_, first_, next_, count_, index_;
  std::vector<double> position_;
};

}  // namespace pescape::mtp
