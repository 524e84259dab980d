// A potential compiled for evaluation: what is the same for every atom is worked out once, here.
//
// Four transformations make the plan cheaper than the file's contraction list:
//  - angular monomials are shared between radial channels and built along a parent tree;
//  - on the unit sphere z^2 = 1 - x^2 - y^2, so that moments with z^2 follow from others once the
//    neighbours have been summed over, (nu + 1)^2 of them instead of about nu^3 / 6;
//  - products that repeat are merged, and moments nobody needs are dropped;
//  - basis functions that no other product uses never appear one by one: since the energy is linear
//    in them, their products are merged over all of them into one quadratic form of the remaining
//    moments, E = 1/2 m.W.m, whose derivative W.m also yields its value.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <vector>

#include "mtp/model.hpp"

namespace pescape::mtp {

/// x^a y^b z^c of a unit vector as its parent monomial times one more component.
struct Monomial {
  int index, parent;
};

/// A basic moment with a power of z above 1: moment = one - x_squared - y_squared.
struct DerivedMoment {
  int moment, one, x_squared, y_squared;
};

/// Consecutive monomials that feed the same radial channels.
struct ChannelRun {
  int first, last;     ///< monomials [first, last)
  int channel, count;  ///< radial channels [channel, channel + count), count <= max_run_channels
};
inline constexpr int max_run_channels = 6;

/// One product of a row: += weight * moment[left] * moment[right]. Rows are sparse: the terms of
/// row k are [start[k], start[k + 1]).
template <class T>
struct Term {
  T weight;
  std::int32_t left, right;
};
/// One entry of a row that is linear in the moments: += weight * moment[moment].
template <class T>
struct LinearTerm {
  T weight;
  std::int32_t moment;
};

template <class T>
class Plan {
 public:
  explicit Plan(const Model& model) : model_(model) {
    check(model);
    number_basic_moments(model);
    number_other_moments(model);
    collect_intermediates(model);
    collect_scalars(model);
    set_coefficients(model);
  }

  int species_count() const { return model_.species_count; }
  int radial_channels() const { return model_.radial_funcs_count; }
  int radial_size() const { return model_.radial_basis_size; }
  double cutoff() const { return model_.max_dist; }
  double min_dist() const { return model_.min_dist; }
  /// Below which distance (Å) radial functions of a pair of species come to rest, if they do.
  double nearest(int zi, int zj) const {
    return model_.nearest.empty() ? model_.min_dist
                                  : model_.nearest[std::size_t(zi) * species_count() + zj];
  }
  double scaling() const { return model_.scaling; }
  int parameter_count() const { return int(model_.parameter_count()); }
  const Model& model() const { return model_; }
  /// What to add to the energy of near pairs; null if nothing.
  const ZBL* repulsion() const {
    return model_.repulsion && model_.adds_repulsion ? &*model_.repulsion : nullptr;
  }
  /// Whether radial functions come to rest just below nearest(). Polynomials that go on growing
  /// would outdo the repulsion where they know nothing.
  bool saturates() const { return model_.repulsion.has_value(); }
  /// Where neighbourhoods are denser than all of the training data; null if nobody knows.
  const Crowding* crowding() const { return model_.crowding ? &*model_.crowding : nullptr; }
  /// Where the energy of a pair begins to differ from that of plain polynomials (Å).
  double reach(int zi, int zj) const {
    return saturates() ? std::max(nearest(zi, zj), model_.repulsion->outer(zi, zj)) : 0.0;
  }

  /// Coefficients of the radial functions, [mu][n], for one ordered pair of species.
  const T* radial_coeffs(int zi, int zj) const {
    return &radial_[std::size_t(zi * species_count() + zj) * radial_size() * radial_channels()];
  }
  double species_coeff(int z) const { return model_.species_coeffs[z]; }

  int monomials_count() const { return int(basic_start_.size()); }
  /// The monomials whose last component is x (0), y (1), z (2), by rising degree. The parents of
  /// an axis' monomials are of the same or an earlier axis. Monomial 0 is 1 and in no list.
  const std::vector<Monomial>& monomials(int axis) const { return monomials_[axis]; }
  /// Monomials that only serve as parents: no basic moment is made of them.
  const std::vector<int>& bare_monomials() const { return bare_monomials_; }
  /// First of the basic moments of a monomial; those of its channels follow each other.
  const std::vector<int>& basic_start() const { return basic_start_; }
  const std::vector<ChannelRun>& runs() const { return runs_; }
  int moments_count() const { return moments_count_; }
  /// Basic moments come first, and among them those that are sums over neighbours.
  int basic_count() const { return basic_count_; }
  int summed_count() const { return summed_count_; }
  /// The others, in an order that can be evaluated.
  const std::vector<DerivedMoment>& derived() const { return derived_; }

  /// Moments beyond the basic ones, in an order that can be evaluated: one row of terms each.
  const std::vector<int>& intermediate_start() const { return intermediate_start_; }
  const std::vector<Term<T>>& intermediate_terms() const { return intermediate_terms_; }
  /// Rows of W, for moments quadratic_row()[k].
  const std::vector<int>& quadratic_row() const { return quadratic_row_; }
  const std::vector<int>& quadratic_start() const { return quadratic_start_; }
  const std::vector<LinearTerm<T>>& quadratic_terms() const { return quadratic_terms_; }
  /// Basis functions that are moments themselves: E += weight * m.
  const std::vector<LinearTerm<T>>& linear_terms() const { return linear_terms_; }
  /// Each basis function by itself: a moment (scalar_moment >= 0) or a row of terms.
  const std::vector<int>& scalar_moment() const { return scalar_moment_; }
  const std::vector<int>& scalar_start() const { return scalar_start_; }
  const std::vector<Term<T>>& scalar_terms() const { return scalar_terms_; }

 private:
  using Terms = std::map<std::pair<int, int>, double>;

  static void check(const Model& m) {
    const auto bad = [](const char* what) { throw std::invalid_argument(what); };
    const int basics = int(m.basic.size());
    if (m.species_count < 1) bad("species_count must be at least 1");
    if (m.radial_basis_size < 1 || m.radial_funcs_count < 1) bad("the radial basis is empty");
    if (!(m.max_dist > m.min_dist) || m.min_dist < 0.0) bad("0 <= min_dist < max_dist is required");
    if (!m.nearest.empty() && m.nearest.size() != std::size_t(m.species_count) * m.species_count)
      bad("nearest must hold one distance per pair of species");
    for (const double distance : m.nearest)
      if (!(distance > 0.0 && distance <= m.max_dist)) bad("nearest must be within the cut-off");
    if (m.radial_coeffs.size() != m.radial_size()) bad("radial_coeffs has the wrong size");
    if (int(m.species_coeffs.size()) != m.species_count) bad("species_coeffs has the wrong size");
    if (m.moment_coeffs.size() != m.scalar_moments.size()) bad("moment_coeffs has the wrong size");
    if (m.repulsion && m.repulsion->species_count() != m.species_count)
      bad("the repulsion is not for the potential's species");
    if (m.repulsion && m.repulsion->outer() > m.max_dist) bad("the repulsion exceeds the cut-off");
    if (m.moments_count < basics) bad("moments_count is less than the number of basic moments");
    for (const BasicMoment& b : m.basic)
      if (b.mu < 0 || b.mu >= m.radial_funcs_count || b.a < 0 || b.b < 0 || b.c < 0)
        bad("a basic moment names a radial function or a power that does not exist");
    std::vector<int> last_written(m.moments_count, -1);
    for (const Product& p : m.products) {
      for (int k : {p.left, p.right, p.out})
        if (k < 0 || k >= m.moments_count) bad("a product names a moment that does not exist");
      if (p.out < basics) bad("a product writes to a basic moment");
      if (p.left == p.out || p.right == p.out) bad("a product uses its own result");
    }
    for (std::size_t i = 0; i < m.products.size(); ++i) last_written[m.products[i].out] = int(i);
    for (std::size_t i = 0; i < m.products.size(); ++i)
      if (last_written[m.products[i].left] > int(i) || last_written[m.products[i].right] > int(i))
        bad("a product uses a moment before it is complete");
    for (int k : m.scalar_moments)
      if (k < 0 || k >= m.moments_count) bad("a basis function names a moment that does not exist");
  }

  using Power = std::array<int, 3>;
  struct ByDegree {
    bool operator()(const Power& p, const Power& q) const {
      const int dp = p[0] + p[1] + p[2], dq = q[0] + q[1] + q[2];
      return dp != dq ? dp < dq : p > q;
    }
  };
  /// Powers of a monomial, and how many of the first radial channels it is wanted for.
  using Channels = std::map<Power, int, ByDegree>;

  /// Sorts the basic moments by monomial and then channel; gaps become moments nobody reads.
  void number_basic_moments(const Model& model) {
    Channels summed, derived;
    separate(model, summed, derived);
    std::map<Power, int> index, start;
    std::vector<int> counts;
    for (const auto& [power, count] : summed) {
      const auto [up, axis] = parent(power);
      const int number = int(basic_start_.size());
      index[power] = number;
      start[power] = summed_count_;
      if (number > 0) monomials_[axis].push_back({number, index.at(up)});
      if (count == 0) bare_monomials_.push_back(number);
      basic_start_.push_back(summed_count_);
      counts.push_back(count);
      summed_count_ += count;
    }
    basic_count_ = summed_count_;
    for (const auto& [power, count] : derived) start[power] = basic_count_, basic_count_ += count;
    std::vector<std::pair<Power, int>> by_z(derived.begin(), derived.end());
    std::stable_sort(by_z.begin(), by_z.end(),
                     [](const auto& p, const auto& q) { return p.first[2] < q.first[2]; });
    for (const auto& [power, count] : by_z) {
      const auto [a, b, c] = power;
      const int one = start.at({a, b, c - 2}), xx = start.at({a + 2, b, c - 2}),
                yy = start.at({a, b + 2, c - 2}), self = start.at(power);
      for (int mu = 0; mu < count; ++mu)
        derived_.push_back({self + mu, one + mu, xx + mu, yy + mu});
    }
    for (const BasicMoment& m : model.basic) number_.push_back(start.at({m.a, m.b, m.c}) + m.mu);
    collect_runs(counts);
  }

  /// Monomials up to z^1, with their parents, and those that follow from them.
  static void separate(const Model& model, Channels& summed, Channels& derived) {
    Channels all;
    int highest = 0;
    for (const BasicMoment& m : model.basic) {
      int& count = all[{m.a, m.b, m.c}];
      count = std::max(count, m.mu + 1);
      highest = std::max(highest, m.c);
    }
    for (int z = highest; z >= 2; --z)
      for (const auto& [power, count] : Channels(all)) {
        const auto [a, b, c] = power;
        if (c != z) continue;
        for (const Power& p : {Power{a, b, c - 2}, Power{a + 2, b, c - 2}, Power{a, b + 2, c - 2}})
          all[p] = std::max(all[p], count);
      }
    summed[{0, 0, 0}] = 0;
    for (const auto& [power, count] : all) {
      (power[2] >= 2 ? derived : summed)[power] = count;
      if (power[2] >= 2) continue;
      for (Power p = power; p != Power{0, 0, 0};) p = parent(p).first, summed.try_emplace(p, 0);
    }
  }

  static std::pair<Power, int> parent(Power power) {
    const int axis = power[2] > 0 ? 2 : power[1] > 0 ? 1 : 0;
    if (power[axis] > 0) --power[axis];
    return {power, axis};
  }

  void collect_runs(const std::vector<int>& counts) {
    const int total = int(counts.size());
    for (int first = 0; first < total;) {
      int last = first + 1;
      while (last < total && counts[last] == counts[first]) ++last;
      for (int channel = 0; channel < counts[first]; channel += max_run_channels)
        runs_.push_back(
            {first, last, channel, std::min(max_run_channels, counts[first] - channel)});
      first = last;
    }
  }

  /// Decides which moments are stored: those that some living product or basis function needs.
  void number_other_moments(const Model& model) {
    const int basics = int(model.basic.size());
    std::vector<char> is_factor(model.moments_count, 0), is_scalar(model.moments_count, 0);
    for (int k : model.scalar_moments) is_scalar[k] = 1;
    terms_.resize(model.moments_count);
    for (const Product& p : model.products)
      terms_[p.out][std::minmax(p.left, p.right)] += p.multiplicity;
    // A moment's factors come earlier, but not always at lower numbers: walk the products.
    std::vector<char> needed = is_scalar;
    for (auto p = model.products.rbegin(); p != model.products.rend(); ++p)
      if (needed[p->out])
        for (int k : {p->left, p->right}) needed[k] = 1, is_factor[k] = 1;
    number_.resize(model.moments_count, -1);
    int next = basic_count_;
    for (const Product& p : model.products) {
      if (!needed[p.out] || !is_factor[p.out] || number_[p.out] >= 0) continue;
      order_.push_back(p.out);
      number_[p.out] = next++;
    }
    // Constant-zero moments that are factors or basis functions (no product writes them).
    for (int k = basics; k < model.moments_count; ++k)
      if (needed[k] && is_factor[k] && number_[k] < 0) order_.push_back(k), number_[k] = next++;
    moments_count_ = next;
  }

  void collect_intermediates(const Model& model) {
    // Order by the last product that writes a moment, so that every factor is complete.
    std::vector<int> last(model.moments_count, -1);
    for (std::size_t i = 0; i < model.products.size(); ++i) last[model.products[i].out] = int(i);
    std::stable_sort(order_.begin(), order_.end(), [&](int a, int b) { return last[a] < last[b]; });
    for (std::size_t k = 0; k < order_.size(); ++k) number_[order_[k]] = basic_count_ + int(k);
    intermediate_start_.push_back(0);
    for (int moment : order_) {
      append(terms_[moment], intermediate_terms_);
      intermediate_start_.push_back(int(intermediate_terms_.size()));
    }
  }

  void append(const Terms& terms, std::vector<Term<T>>& out) const {
    for (const auto& [factors, weight] : terms)
      if (weight != 0.0)
        out.push_back({T(weight), number_[factors.first], number_[factors.second]});
  }

  void collect_scalars(const Model& model) {
    scalar_start_.push_back(0);
    for (int moment : model.scalar_moments) {
      scalar_moment_.push_back(number_[moment]);
      if (number_[moment] < 0) append(terms_[moment], scalar_terms_);
      scalar_start_.push_back(int(scalar_terms_.size()));
    }
  }

  void set_coefficients(const Model& model) {
    radial_.assign(model.radial_coeffs.begin(), model.radial_coeffs.end());

    std::map<int, double> linear;
    std::map<int, std::map<int, double>> quadratic;
    for (std::size_t s = 0; s < model.scalar_moments.size(); ++s) {
      const int moment = model.scalar_moments[s];
      const double xi = model.moment_coeffs[s];
      if (number_[moment] >= 0) {
        linear[number_[moment]] += xi;
        continue;
      }
      for (const auto& [factors, weight] : terms_[moment]) {
        const int a = number_[factors.first], b = number_[factors.second];
        quadratic[a][b] += xi * weight;
        quadratic[b][a] += xi * weight;
      }
    }
    for (const auto& [moment, weight] : linear) linear_terms_.push_back({T(weight), moment});
    quadratic_start_.push_back(0);
    for (const auto& [row, entries] : quadratic) {
      quadratic_row_.push_back(row);
      for (const auto& [moment, weight] : entries) quadratic_terms_.push_back({T(weight), moment});
      quadratic_start_.push_back(int(quadratic_terms_.size()));
    }
    terms_.clear();
    terms_.shrink_to_fit();
  }

  Model model_;
  std::vector<T> radial_;
  std::array<std::vector<Monomial>, 3> monomials_;
  std::vector<int> basic_start_, bare_monomials_;
  std::vector<DerivedMoment> derived_;
  std::vector<ChannelRun> runs_;
  int summed_count_ = 0, basic_count_ = 0, moments_count_ = 0;
  std::vector<int> number_;   ///< our number of each of the file's moments, -1: not stored
  std::vector<int> order_;    ///< the file's numbers of the stored moments beyond the basic ones
  std::vector<Terms> terms_;  ///< merged products by output, while the plan is built

  std::vector<int> intermediate_start_, quadratic_row_, quadratic_start_;
  std::vector<int> scalar_moment_, scalar_start_;
  std::vector<Term<T>> intermediate_terms_, scalar_terms_;
  std::vector<LinearTerm<T>> quadratic_terms_, linear_terms_;
};

}  // namespace pescape::mtp
