// Pairs of neighbours of one atom, collected for its angular symmetry functions, and what the
// stages of their evaluation leave in memory. Half of all pairs of a sphere are further apart than
// its radius: only those that count are kept, one after another.
#pragma once

#include <cstdint>
#include <vector>

#include "bpnn/neighborhood.hpp"

namespace pescape::bpnn {

/// Triplets whose exponentials and powers lie together in memory.
inline constexpr int block_packs = 8;
inline constexpr int block_size = block_packs * Pack<double>::lanes;

/// What the stages of one group hand to each other.
class Triplets {
 public:
  using V = Pack<double>;

  /// Per triplet: cosine, exponent (sum of squared distances), factor (product of both neighbours'
  /// cut-offs) and r2 (squared distance between the neighbours).
  std::vector<double> cosine, exponent, factor, r2;
  std::vector<std::uint16_t> masks;  ///< per pack of neighbours, in the order of the visits

  int count() const { return count_; }
  int blocks() const { return (count_ + block_size - 1) / block_size; }

  void start(std::size_t pairs) {
    const std::size_t room = pairs + 2 * block_size;
    if (cosine.size() < room)
      for (auto* array : {&cosine, &exponent, &factor, &r2}) array->resize(room);
    masks.clear();
    count_ = 0;
  }

  PESCAPE_INLINE void append(LaneMask mask, V c, V s, V f, V d) {
    compress(&cosine[count_], c, mask);
    compress(&exponent[count_], s, mask);
    compress(&factor[count_], f, mask);
    compress(&r2[count_], d, mask);
    masks.push_back(std::uint16_t(mask));
    count_ += pescape::count(mask);
  }

  /// Makes the rest of the last block harmless: its triplets have no weight.
  void finish(std::size_t rows) {
    for (int k = count_; k < blocks() * block_size; ++k)
      cosine[k] = exponent[k] = factor[k] = r2[k] = 0.0;
    rows_ = rows;
    const std::size_t size = std::size_t(blocks()) * rows * block_size;
    if (values_.size() < size) values_.resize(size);
  }

  /// One number for each triplet of a block: cut-off, its slope, exponentials, powers.
  double* row(int block, std::size_t which) {
    return &values_[(std::size_t(block) * rows_ + which) * block_size];
  }

 private:
  std::vector<double> values_;
  std::size_t rows_ = 0;
  int count_ = 0;
};

/// Rows of Triplets::row.
inline constexpr std::size_t cutoff_row = 0, slope_row = 1, first_eta_row = 2;

/// The rows of one block, as `compute_exponentials`, `compute_powers` and `compute_windows` left
/// them. Windows of angles have derivatives by the cosine in rows of their own.
struct BlockRows {
  const double* const* exponential;
  const double* const* angle;
  const double* const* derivative;
  const double* cosine;
};

/// How many rows the triplets of a group need.
inline std::size_t row_count(const AngularGroup& group) {
  return first_eta_row + group.etas.size() + group.angles() * (group.has_windows() ? 2 : 1);
}

/// Scratch of one atom's angular functions: sums of products, and their adjoints.
struct AngularScratch {
  using V = Pack<double>;
  std::vector<V> sums;
  std::vector<double> weights, zeta_weights;

  /// The rows of one block; they are valid until the next call.
  BlockRows rows_of(const AngularGroup& group, Triplets& triplets, int block) {
    rows_.resize(row_count(group) - first_eta_row);
    for (std::size_t k = 0; k < rows_.size(); ++k)
      rows_[k] = triplets.row(block, first_eta_row + k);
    const double* const* angle = rows_.data() + group.etas.size();
    return {rows_.data(), angle, angle + group.angles(),
            &triplets.cosine[std::size_t(block) * block_size]};
  }

 private:
  std::vector<const double*> rows_;
};

/// Visits the pairs of neighbours of a group, a pack of second neighbours at a time.
///
/// `row(j)` is told each first neighbour and returns what handles f(k, mask) its packs.
template <class Row>
PESCAPE_INLINE void for_each_pair(const Neighborhood& hood, const AngularGroup& group, Row&& row) {
  const bool same = group.species1 == group.species2;
  const int end = hood.end(group.species2);
  for (int j = hood.begin(group.species1); j < hood.end(group.species1); ++j) {
    auto visit = row(j);
    for (int k = same ? j + 1 : hood.begin(group.species2); k < end; k += Neighborhood::lanes)
      visit(k, first_lanes(end - k));
    visit.done();
  }
}

namespace detail {

/// Both neighbours of a pair, seen from the first.
struct FirstNeighbor {
  using V = Pack<double>;
  double x, y, z, r2, inverse_r, cutoff, slope;

  FirstNeighbor(const Neighborhood& hood, int c, int j)
      : x(hood.x[j]),
        y(hood.y[j]),
        z(hood.z[j]),
        r2(hood.r2[j]),
        inverse_r(hood.inverse_r[j]),
        cutoff(hood.cutoff[c][j]),
        slope(hood.slope[c][j]) {}

  PESCAPE_INLINE V dot(const Neighborhood& hood, int k) const {
    return V(x) * load(&hood.x[k]) + V(y) * load(&hood.y[k]) + V(z) * load(&hood.z[k]);
  }
};

template <bool narrow>
struct CollectRow {
  using V = Pack<double>;
  const Neighborhood& hood;
  const AngularGroup& group;
  Triplets& out;
  double least, limit;  ///< squared distances outside of which the cut-off function is zero
  FirstNeighbor j;

  PESCAPE_INLINE void operator()(int k, LaneMask mask) const {
    const V dot = j.dot(hood, k), r2k = load(&hood.r2[k]);
    // Rounding may push a cosine out of [-1, 1], where its powers are not defined.
    const V c = max(min(dot * V(j.inverse_r) * load(&hood.inverse_r[k]), V(1.0)), V(-1.0));
    const V between = r2k + V(j.r2) - V(2.0) * dot;
    mask &= less(r2k, V(limit)) & less(V(least), r2k);
    if (narrow) mask &= less(between, V(limit)) & less(V(least), between);
    if (j.r2 >= limit || j.r2 <= least) mask = 0;
    const V f = V(j.cutoff) * load(&hood.cutoff[group.cutoff][k]);
    out.append(mask, c, exponent(k, r2k, between), f, between);
  }
  PESCAPE_INLINE V exponent(int k, V r2k, V between) const {
    if (group.shift == 0.0) return narrow ? r2k + V(j.r2) + between : r2k + V(j.r2);
    const V s(group.shift), dj = V(j.r2 * j.inverse_r) - s, dk = r2k * load(&hood.inverse_r[k]) - s;
    V total = dj * dj + dk * dk;
    if (narrow) {
      const V d = sqrt(max(between, V(0.0))) - s;
      total += d * d;
    }
    return total;
  }
  void done() const {}
};

template <bool narrow>
void collect(const Neighborhood& hood, const AngularGroup& group, const CutoffFunction& cutoff,
             Triplets& out) {
  const bool hollow = is_window(cutoff.kind) && cutoff.parameter > 0.0;
  const double least = hollow ? cutoff.parameter * cutoff.parameter : -1.0,
               limit = cutoff.radius * cutoff.radius;
  const std::size_t n1 = hood.end(group.species1) - hood.begin(group.species1),
                    n2 = hood.end(group.species2) - hood.begin(group.species2);
  out.start(n1 * n2);
  for_each_pair(hood, group, [&](int j) {
    return CollectRow<narrow>{hood, group, out, least, limit, {hood, group.cutoff, j}};
  });
  out.finish(row_count(group));
}

}  // namespace detail

}  // namespace pescape::bpnn
