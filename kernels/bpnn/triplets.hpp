// Angular symmetry functions of one atom, forward and in reverse, with triplets in SIMD lanes.
//
// Four stages per group of functions that share exponentials and powers:
//   collect     pairs of neighbours within reach, packed one after another (half of all pairs of a
//               sphere are further apart than its radius)
//   add_angular the exponentials, the powers and their products' sums: a small matrix product
//   pull        from the products' adjoints to those of distances and angle, per triplet
//   scatter     to the two neighbours of each triplet
// No derivative of a symmetry function is ever formed on the way.
#pragma once

#include <cstdint>
#include <vector>

#include "bpnn/neighborhood.hpp"

namespace pescape::bpnn {

/// Triplets whose exponentials and powers lie together in memory.
inline constexpr int block_packs = 8;
inline constexpr int block_size = block_packs * Pack<double>::lanes;

/// Smallest base of a power: keeps its logarithm and its inverse finite.
inline constexpr double least_base = 1e-200;

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

/// Derivatives of a sum of functions, per triplet, each without both neighbours' cut-offs.
struct TripletDerivatives {
  double* value;     ///< the sum itself
  double* exponent;  ///< by a squared distance, through the exponentials
  double* between;   ///< by the squared distance between the neighbours
  double* angle;     ///< by the cosine

  /// In place of what `collect` found, which is not needed once a block's are computed.
  static TripletDerivatives over(Triplets& t) {
    return {t.factor.data(), t.exponent.data(), t.r2.data(), t.cosine.data()};
  }
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

/// x^n for the packs of a block, n at least 0.
PESCAPE_INLINE void integer_powers(const Pack<double>* x, int n, double* out) {
  using V = Pack<double>;
  V result[block_packs], square[block_packs];
  for (int k = 0; k < block_packs; ++k) result[k] = n & 1 ? x[k] : V(1.0), square[k] = x[k];
  for (n >>= 1; n > 0; n >>= 1) {
    for (int k = 0; k < block_packs; ++k) square[k] = square[k] * square[k];
    if (n & 1)
      for (int k = 0; k < block_packs; ++k) result[k] = result[k] * square[k];
  }
  for (int k = 0; k < block_packs; ++k) store(out + k * V::lanes, result[k]);
}

/// Powers of 1 + lambda cos for one block, each in its row.
inline void compute_powers(const AngularGroup& group, Triplets& triplets, int block) {
  using V = Pack<double>;
  const double* cosine = &triplets.cosine[std::size_t(block) * block_size];
  V x[block_packs] = {}, logarithm[block_packs] = {};
  int base = -1;
  bool has_logarithm = false;
  for (std::size_t p = 0; p < group.powers.size(); ++p) {
    const AngularGroup::Power& power = group.powers[p];
    double* row = triplets.row(block, first_eta_row + group.etas.size() + p);
    if (power.base != base) {
      base = power.base, has_logarithm = false;
      const V lambda(group.lambdas[base]);
      for (int k = 0; k < block_packs; ++k)
        x[k] = max(V(1.0) + lambda * load(cosine + k * V::lanes), V(least_base));
    }
    if (power.integer >= 0) {
      integer_powers(x, power.integer, row);
      continue;
    }
    if (!has_logarithm)
      for (int k = 0; k < block_packs; ++k) logarithm[k] = log(x[k]);
    has_logarithm = true;
    for (int k = 0; k < block_packs; ++k)
      store(row + k * V::lanes, exp(V(power.zeta) * logarithm[k]));
  }
}

/// Windows of angles for one block, and their derivatives by the cosine.
inline void compute_windows(const AngularGroup& group, Triplets& triplets, int block) {
  using V = Pack<double>;
  const double* cosine = &triplets.cosine[std::size_t(block) * block_size];
  const std::size_t first = first_eta_row + group.etas.size();
  for (int t = 0; t < block_size; t += V::lanes) {
    const V c = load(cosine + t), angle = acos(c);
    // Where the sine vanishes, so does the gradient of the cosine.
    const V inverse_sine = V(1.0) / max(sqrt(max(V(1.0) - c * c, V(0.0))), V(1e-150));
    for (std::size_t p = 0; p < group.windows.size(); ++p) {
      const AngularGroup::Window& w = group.windows[p];
      const V x = (angle - V(w.middle)) * V(1.0 / w.half_width), away = max(x, V(0.0) - x);
      V value, derivative;
      window(w.order, false, away, value, derivative);
      const V slope = V(V::Register(x.v < V(0.0).v ? derivative.v : (V(0.0) - derivative).v));
      store(triplets.row(block, first + p) + t, value);
      store(triplets.row(block, first + group.windows.size() + p) + t,
            slope * V(1.0 / w.half_width) * inverse_sine);
    }
  }
}

inline void compute_exponentials(const AngularGroup& group, const CutoffFunction& cutoff,
                                 Triplets& triplets, int block) {
  using V = Pack<double>;
  const std::size_t start = std::size_t(block) * block_size;
  for (int t = 0; t < block_size; t += V::lanes) {
    const V s = load(&triplets.exponent[start + t]);
    for (std::size_t e = 0; e < group.etas.size(); ++e)
      store(triplets.row(block, first_eta_row + e) + t, exp(V(-group.etas[e]) * s));
    if (!group.narrow) continue;
    const CutoffValue f = cutoff_value(cutoff, load(&triplets.r2[start + t]));
    store(triplets.row(block, cutoff_row) + t, f.value);
    store(triplets.row(block, slope_row) + t, f.slope);
  }
}

/// sums[e][p] += sum over the block of weight * exponential e * power p, for a tile of both.
template <int etas, int powers>
PESCAPE_INLINE void add_products(const double* weight, const double* const* eta,
                                 const double* const* power, Pack<double>* sums, std::size_t row) {
  using V = Pack<double>;
  V total[etas][powers];
  for (int e = 0; e < etas; ++e)
    for (int p = 0; p < powers; ++p) total[e][p] = sums[e * row + p];
  for (int t = 0; t < block_size; t += V::lanes) {
    const V w = load(weight + t);
    V left[etas];
    for (int e = 0; e < etas; ++e) left[e] = w * load(eta[e] + t);
    for (int p = 0; p < powers; ++p) {
      const V right = load(power[p] + t);
      for (int e = 0; e < etas; ++e) total[e][p] += left[e] * right;
    }
  }
  for (int e = 0; e < etas; ++e)
    for (int p = 0; p < powers; ++p) sums[e * row + p] = total[e][p];
}

template <int etas>
void add_products_of(int powers, const double* weight, const double* const* eta,
                     const double* const* power, Pack<double>* sums, std::size_t row) {
  for (; powers >= 8; powers -= 8, power += 8, sums += 8)
    add_products<etas, 8>(weight, eta, power, sums, row);
  if (powers >= 4) {
    add_products<etas, 4>(weight, eta, power, sums, row);
    powers -= 4, power += 4, sums += 4;
  }
  if (powers >= 2) {
    add_products<etas, 2>(weight, eta, power, sums, row);
    powers -= 2, power += 2, sums += 2;
  }
  if (powers == 1) add_products<etas, 1>(weight, eta, power, sums, row);
}

}  // namespace detail

/// Adds the group's functions to `functions`; the triplets keep what `pull_angular` needs.
inline void add_angular(const Neighborhood& hood, const AngularGroup& group,
                        const CutoffFunction& cutoff, Triplets& triplets, AngularScratch& work,
                        double* functions) {
  using V = Pack<double>;
  if (group.narrow)
    detail::collect<true>(hood, group, cutoff, triplets);
  else
    detail::collect<false>(hood, group, cutoff, triplets);
  const int etas = int(group.etas.size()), angles = int(group.angles());
  work.sums.assign(group.matrix_size(), V(0.0));
  double weight[block_size];
  for (int block = 0; block < triplets.blocks(); ++block) {
    detail::compute_exponentials(group, cutoff, triplets, block);
    if (group.has_windows())
      detail::compute_windows(group, triplets, block);
    else
      detail::compute_powers(group, triplets, block);
    const double* factor = &triplets.factor[std::size_t(block) * block_size];
    const double* between = triplets.row(block, cutoff_row);
    for (int t = 0; t < block_size; t += V::lanes)
      store(weight + t, group.narrow ? load(factor + t) * load(between + t) : load(factor + t));
    const BlockRows rows = work.rows_of(group, triplets, block);
    int e = 0;
    for (; e + 2 <= etas; e += 2)
      detail::add_products_of<2>(angles, weight, rows.exponential + e, rows.angle,
                                 &work.sums[e * angles], angles);
    if (e < etas)
      detail::add_products_of<1>(angles, weight, rows.exponential + e, rows.angle,
                                 &work.sums[e * angles], angles);
  }
  for (const AngularGroup::Term& term : group.terms)
    functions[term.function] += term.weight * sum(work.sums[group.place(term)]);
}

namespace detail {

/// Derivatives of the weighted products of one pack of triplets, without both neighbours' cut-offs.
struct PulledPack {
  Pack<double> value;     ///< sum of w exp pow
  Pack<double> exponent;  ///< by minus the exponent: sum of eta w exp pow
  Pack<double> angle;     ///< by the cosine
};

template <bool narrow>
PESCAPE_INLINE void store_pulled(const AngularGroup& group, Triplets& triplets, int block, int t,
                                 const PulledPack& pulled, const TripletDerivatives& out) {
  using V = Pack<double>;
  const std::size_t at = std::size_t(block) * block_size + t;
  V value = pulled.value, exponent = V(0.0) - pulled.exponent, angle = pulled.angle;
  if (narrow) {
    const V f = load(triplets.row(block, cutoff_row) + t);
    V through = exponent;
    if (group.shift != 0.0) {
      const V r2 = max(load(&triplets.r2[at]), V(1e-30));
      through = exponent * (V(1.0) - V(group.shift) / sqrt(r2));
    }
    store(out.between + at, f * through + load(triplets.row(block, slope_row) + t) * value);
    value = value * f;
    exponent = exponent * f;
    angle = angle * f;
  }
  store(out.value + at, value);
  store(out.exponent + at, exponent);
  store(out.angle + at, angle);
}

template <bool narrow>
struct ScatterRow {
  using V = Pack<double>;
  const Neighborhood& hood;
  const AngularGroup& group;
  const TripletDerivatives& pulled;
  Gradient& gradient;
  std::size_t& at;
  const std::uint16_t*& mask_at;
  int index;
  FirstNeighbor j;
  V along = V(0.0), x = V(0.0), y = V(0.0), z = V(0.0);

  PESCAPE_INLINE void operator()(int k, LaneMask) {
    const LaneMask mask = *mask_at++;
    if (mask == 0) return;
    const V value = expand(pulled.value + at, mask), slope = expand(pulled.exponent + at, mask),
            angle = expand(pulled.angle + at, mask);
    const V between = narrow ? expand(pulled.between + at, mask) : V(0.0);
    at += pescape::count(mask);
    const V xk = load(&hood.x[k]), yk = load(&hood.y[k]), zk = load(&hood.z[k]);
    const V inverse_k = load(&hood.inverse_r[k]), fk = load(&hood.cutoff[group.cutoff][k]),
            slope_k = load(&hood.slope[group.cutoff][k]);
    const V inverse_j(j.inverse_r), fj(j.cutoff), both = fj * fk, inverses = inverse_j * inverse_k;
    const V c = (V(j.x) * xk + V(j.y) * yk + V(j.z) * zk) * inverses;
    V slope_by_j = slope, slope_by_k = slope;
    if (group.shift != 0.0) {
      slope_by_j = slope * (V(1.0) - V(group.shift) * inverse_j);
      slope_by_k = slope * (V(1.0) - V(group.shift) * inverse_k);
    }
    const V by_jk = both * between, by_angle = both * angle;
    const V by_j = fk * (V(j.slope) * value + fj * slope_by_j),
            by_k = fj * (slope_k * value + fk * slope_by_k);
    const V cross = by_angle * inverses - V(2.0) * by_jk, turn = by_angle * c;
    along += V(2.0) * (by_j + by_jk) - turn * inverse_j * inverse_j;
    x += cross * xk, y += cross * yk, z += cross * zk;
    add(gradient.along, k, V(2.0) * (by_k + by_jk) - turn * inverse_k * inverse_k);
    add(gradient.across_x, k, cross * V(j.x));
    add(gradient.across_y, k, cross * V(j.y));
    add(gradient.across_z, k, cross * V(j.z));
  }
  void done() {
    gradient.along[index] += sum(along);
    gradient.across_x[index] += sum(x);
    gradient.across_y[index] += sum(y);
    gradient.across_z[index] += sum(z);
  }
  PESCAPE_INLINE static void add(std::vector<double>& array, int k, V v) {
    store(&array[k], load(&array[k]) + v);
  }
};

template <bool narrow>
void scatter(const Neighborhood& hood, const AngularGroup& group, const Triplets& triplets,
             const TripletDerivatives& pulled, Gradient& gradient) {
  std::size_t at = 0;
  const std::uint16_t* mask_at = triplets.masks.data();
  for_each_pair(hood, group, [&](int j) {
    return ScatterRow<narrow>{hood, group,   pulled, gradient,
                              at,   mask_at, j,      {hood, group.cutoff, j}};
  });
}

/// Adds the products of some powers of one base, or some windows, with all exponentials, for the
/// pack at t. Of powers, `angle` misses a factor lambda / (1 + lambda cos), because
/// d x^zeta / dx = zeta x^zeta / x.
template <int count, bool windows>
PESCAPE_INLINE void pull_angles(const AngularGroup& group, const AngularScratch& work,
                                const BlockRows& rows, std::size_t first, int t, PulledPack& pulled,
                                Pack<double>& angle) {
  using V = Pack<double>;
  const std::size_t stride = group.angles();
  V factor[count], turning[count];
  for (int p = 0; p < count; ++p) {
    factor[p] = load(rows.angle[first + p] + t);
    turning[p] = windows ? load(rows.derivative[first + p] + t) : factor[p];
  }
  const double* weight = &work.weights[first];
  const double* turned_weight = windows ? weight : &work.zeta_weights[first];
  for (std::size_t e = 0; e < group.etas.size(); ++e, weight += stride, turned_weight += stride) {
    V value = V(weight[0]) * factor[0], turned = V(turned_weight[0]) * turning[0];
    for (int p = 1; p < count; ++p) {
      value += V(weight[p]) * factor[p];
      turned += V(turned_weight[p]) * turning[p];
    }
    const V exponential = load(rows.exponential[e] + t);
    value = value * exponential;
    pulled.value += value;
    pulled.exponent += V(group.etas[e]) * value;
    angle += turned * exponential;
  }
}

template <bool windows>
PESCAPE_INLINE void pull_range(const AngularGroup& group, const AngularScratch& work,
                               const BlockRows& rows, std::size_t first, std::size_t end, int t,
                               PulledPack& pulled, Pack<double>& angle) {
  for (; first + 4 <= end; first += 4)
    pull_angles<4, windows>(group, work, rows, first, t, pulled, angle);
  if (first + 2 <= end) {
    pull_angles<2, windows>(group, work, rows, first, t, pulled, angle);
    first += 2;
  }
  if (first < end) pull_angles<1, windows>(group, work, rows, first, t, pulled, angle);
}

/// Sums over all products with their adjoints, for one pack of triplets.
PESCAPE_INLINE PulledPack pull_products(const AngularGroup& group, const AngularScratch& work,
                                        const BlockRows& rows, int t) {
  using V = Pack<double>;
  PulledPack pulled{V(0.0), V(0.0), V(0.0)};
  if (group.has_windows()) {
    pull_range<true>(group, work, rows, 0, group.windows.size(), t, pulled, pulled.angle);
    return pulled;
  }
  const V cosine = load(rows.cosine + t);
  for (std::size_t first = 0, end = 0; first < group.powers.size(); first = end) {
    const int base = group.powers[first].base;
    while (end < group.powers.size() && group.powers[end].base == base) ++end;
    V angle(0.0);
    pull_range<false>(group, work, rows, first, end, t, pulled, angle);
    const V lambda(group.lambdas[base]);
    pulled.angle += lambda * angle / max(V(1.0) + lambda * cosine, V(least_base));
  }
  return pulled;
}

template <bool narrow>
void pull_triplets(const Neighborhood& hood, const AngularGroup& group, AngularScratch& work,
                   Triplets& triplets, Gradient& gradient) {
  const TripletDerivatives pulled = TripletDerivatives::over(triplets);
  for (int block = 0; block < triplets.blocks(); ++block) {
    const BlockRows rows = work.rows_of(group, triplets, block);
    for (int t = 0; t < block_size; t += Pack<double>::lanes)
      store_pulled<narrow>(group, triplets, block, t, pull_products(group, work, rows, t), pulled);
  }
  scatter<narrow>(hood, group, triplets, pulled, gradient);
}

template <bool narrow>
void pull_term(const Neighborhood& hood, const AngularGroup& group, const AngularGroup::Term& term,
               Triplets& triplets, const TripletDerivatives& pulled, Gradient& gradient) {
  using V = Pack<double>;
  const std::size_t angle_row = first_eta_row + group.etas.size() + term.angle;
  const double eta = group.etas[term.eta];
  for (int block = 0; block < triplets.blocks(); ++block) {
    const double* exponentials = triplets.row(block, first_eta_row + term.eta);
    const double* angles = triplets.row(block, angle_row);
    const double* cosine = &triplets.cosine[std::size_t(block) * block_size];
    for (int t = 0; t < block_size; t += V::lanes) {
      const V exponential = V(term.weight) * load(exponentials + t);
      const V value = exponential * load(angles + t);
      V turned;
      if (group.has_windows()) {
        turned = exponential * load(triplets.row(block, angle_row + group.windows.size()) + t);
      } else {
        const AngularGroup::Power& power = group.powers[term.angle];
        const V lambda(group.lambdas[power.base]);
        const V x = max(V(1.0) + lambda * load(cosine + t), V(least_base));
        turned = V(power.zeta) * lambda * value / x;
      }
      const PulledPack one{value, V(eta) * value, turned};
      store_pulled<narrow>(group, triplets, block, t, one, pulled);
    }
  }
  scatter<narrow>(hood, group, triplets, pulled, gradient);
}

}  // namespace detail

/// Adds the gradient of sum_f adjoints[f] G_f over the group's functions.
inline void pull_angular(const Neighborhood& hood, const AngularGroup& group, Triplets& triplets,
                         const double* adjoints, AngularScratch& work, Gradient& gradient) {
  work.weights.assign(group.matrix_size(), 0.0);
  for (const AngularGroup::Term& term : group.terms)
    work.weights[group.place(term)] += term.weight * adjoints[term.function];
  work.zeta_weights = work.weights;
  if (!group.has_windows())
    for (std::size_t k = 0; k < work.weights.size(); ++k)
      work.zeta_weights[k] *= group.powers[k % group.powers.size()].zeta;
  if (group.narrow)
    detail::pull_triplets<true>(hood, group, work, triplets, gradient);
  else
    detail::pull_triplets<false>(hood, group, work, triplets, gradient);
}

/// Adds the gradient of one function alone; the triplets stay as they are.
inline void pull_term(const Neighborhood& hood, const AngularGroup& group,
                      const AngularGroup::Term& term, Triplets& triplets,
                      const TripletDerivatives& scratch, Gradient& gradient) {
  if (group.narrow)
    detail::pull_term<true>(hood, group, term, triplets, scratch, gradient);
  else
    detail::pull_term<false>(hood, group, term, triplets, scratch, gradient);
}

}  // namespace pescape::bpnn
