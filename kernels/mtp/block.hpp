// Neighbourhoods of a few atoms of one species, one atom per SIMD lane, padded to equal length.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "simd.hpp"

namespace pescape::mtp {

/// The neighbours within the cut-off of up to `lanes` atoms that share a species.
///
/// Slot s holds one neighbour (or padding) of each atom, all of one species. Every species has its
/// own range of rows, so that neighbours are written straight to where they are read from.
template <int lanes>
class Neighborhoods {
 public:
  int used() const { return used_; }
  bool full() const { return used_ == lanes; }
  int atom(int lane) const { return atoms_[lane]; }
  const int* atoms() const { return atoms_; }

  int slots() const { return int(rows_.size()); }
  int species(int slot) const { return rows_[slot] / capacity_; }
  /// Atom index of the neighbour, or -1 for padding.
  int index(int slot, int lane) const { return index_[rows_[slot] * lanes + lane]; }
  /// Components of r_j - r_i in Å, one per lane. Padding sits at the cut-off, where f = f' = 0.
  const double* position(int slot, int axis) const {
    return &position_[(3 * std::size_t(rows_[slot]) + axis) * lanes];
  }

  void clear(int species_count) {
    used_ = 0;
    species_count_ = species_count;
    count_.assign(std::size_t(species_count) * lanes, 0);
    if (capacity_ == 0 || int(index_.size()) < species_count * capacity_ * lanes) reserve(64);
  }

  /// Adds an atom; `list.for_each(i, f)` may offer candidates beyond the cut-off too.
  template <class List>
  void add(int atom, const List& list, double cutoff) {
    const double limit = cutoff * cutoff;
    const int lane = used_++;
    atoms_[lane] = atom;
    if (species_count_ == 1)
      add_one_species(atom, list, limit, lane);
    else
      add_many_species(atom, list, limit, lane);
  }

  /// Pads the atoms' lists to equal length; slots() and the rest are valid from here on.
  void finish(double cutoff) {
    rows_.clear();
    for (int z = 0; z < species_count_; ++z) {
      const int* counts = &count_[std::size_t(z) * lanes];
      const int widest = *std::max_element(counts, counts + lanes);
      for (int lane = 0; lane < lanes; ++lane)
        for (int k = counts[lane]; k < widest; ++k)
          write(z * capacity_ + k, lane, -1, cutoff, 0, 0);
      for (int k = 0; k < widest; ++k) rows_.push_back(z * capacity_ + k);
    }
  }

 private:
  PESCAPE_INLINE void write(int row, int lane, int j, double x, double y, double z) {
    index_[row * lanes + lane] = j;
    double* p = &position_[3 * std::size_t(row) * lanes + lane];
    p[0] = x, p[lanes] = y, p[2 * lanes] = z;
  }

  // Candidates are written first and counted afterwards: there is no branch to mispredict. The
  // pointers are locals so that the compiler can keep them in registers between the stores.
  template <class List>
  void add_one_species(int atom, const List& list, double limit, int lane) {
    int n = 0, capacity = capacity_;
    int* index = index_.data() + lane;
    double* p = position_.data() + lane;
    list.for_each(atom, [&](int j, double x, double y, double z) {
      *index = j;
      p[0] = x, p[lanes] = y, p[2 * lanes] = z;
      const int step = int(x * x + y * y + z * z < limit) & int(list.species(j) >= 0);
      n += step;
      index += lanes * step;
      p += 3 * lanes * step;
      if (n == capacity) {
        reserve(capacity = 2 * capacity);
        index = index_.data() + n * lanes + lane;
        p = position_.data() + 3 * std::size_t(n) * lanes + lane;
      }
    });
    count_[lane] = n;
  }

  template <class List>
  void add_many_species(int atom, const List& list, double limit, int lane) {
    list.for_each(atom, [&](int j, double x, double y, double z) {
      const int kind = list.species(j);
      if (kind < 0) return;
      int& n = count_[kind * lanes + lane];
      write(kind * capacity_ + n, lane, j, x, y, z);
      n += int(x * x + y * y + z * z < limit);
      if (n == capacity_) reserve(2 * capacity_);
    });
  }

  /// Makes room for more neighbours of each species; what is there moves along.
  void reserve(int capacity) {
    std::vector<int> index(std::size_t(species_count_) * capacity * lanes);
    std::vector<double> position(3 * index.size());
    const std::size_t old = std::size_t(capacity_) * lanes, fresh = std::size_t(capacity) * lanes;
    for (std::size_t z = 0; z < index_.size() / std::max<std::size_t>(old, 1); ++z) {
      if (z == std::size_t(species_count_)) break;
      std::copy_n(&index_[z * old], std::min(old, fresh), &index[z * fresh]);
      std::copy_n(&position_[3 * z * old], 3 * std::min(old, fresh), &position[3 * z * fresh]);
    }
    capacity_ = capacity;
    index_ = std::move(index);
    position_ = std::move(position);
  }

  int used_ = 0, species_count_ = 0, capacity_ = 0;
  int atoms_[lanes];
  std::vector<int> rows_;   ///< row of each slot: species * capacity + number within the species
  std::vector<int> count_;  ///< [species][lane]
  std::vector<int> index_;
  std::vector<double> position_;  ///< [row][axis][lane]
};

}  // namespace pescape::mtp
