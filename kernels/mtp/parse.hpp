// Reads the text of an MLIP-2 .mtp or MLIP-3 .almtp file. No I/O: bytes in, plain data out.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "inverse.hpp"
#include "mtp/model.hpp"
#include "mtp/tag.hpp"
#include "text.hpp"

namespace pescape::mtp {

/// The rows that extrapolation grades are measured against.
struct ActiveSetBlock {
  int n = 0;  ///< number of rows and of the potential's parameters
  double energy_weight = 0.0, force_weight = 0.0, stress_weight = 0.0, site_en_weight = 0.0;
  double weight_scaling = 2.0;  ///< a configuration of N atoms is divided by N^(weight_scaling/2)
  std::vector<double> A;        ///< row-major (n, n)
  std::vector<double> inverse;  ///< A^-1 proper, row-major (the file stores its transpose)
  std::vector<std::array<int, 2>> origins;  ///< configuration and equation; -1 -1 is unset
  std::size_t configurations_offset = 0;    ///< byte where the configurations (.cfg text) start
  std::size_t configurations_line = 0;      ///< and the number of that line

  /// Rows are neighbourhoods of atoms; otherwise they are whole configurations.
  bool neighborhood_mode() const { return site_en_weight != 0.0; }
};

struct PotentialFile {
  Model model;
  std::string name, tag;
  std::vector<std::string> species_names;  ///< empty when the file names no elements
  bool repulsion_of_pairs = false;         ///< its distances are of each pair
  std::optional<ActiveSetBlock> active_set;

  bool trained() const { return !model.radial_coeffs.empty(); }
};

namespace parsing {

// Larger than any real potential, small enough that products of them cannot overflow.
inline constexpr int max_species = 118, max_radial_size = 1000, max_exponent = 30;

/// Reads the keys of the text part one after the other.
class TextReader {
 public:
  explicit TextReader(Scanner& in) : in_(in) {}

  PotentialFile read() {
    header();
    for (;;) {
      in_.skip_space();
      if (in_.at_end()) break;
      const std::size_t line = in_.line();
      const std::string_view key = in_.word();
      if (!key.empty() && key.front() == '#') {
        marker_ = key;
        break;
      }
      if (key.empty()) in_.fail("a key expected, found " + in_.found());
      if (!seen_.insert(std::string(key)).second)
        throw ParseError(line, "'" + std::string(key) + "' appears twice");
      value_of(key, line);
    }
    check_complete();
    return std::move(file_);
  }

  /// The word beginning with '#' that ended the text part; empty at the end of the file.
  std::string_view marker() const { return marker_; }

 private:
  void header() {
    if (in_.word() != "MTP")
      in_.fail("not a moment tensor potential: the first word of the file is not 'MTP'");
  }

  void value_of(std::string_view key, std::size_t line) {
    Model& m = file_.model;
    if (key.substr(0, 8) == "magnetic" || key.substr(0, 6) == "mbasis")
      throw ParseError(line, quoted(key) + ": magnetic potentials are not supported");
    if (!is_known(key)) throw ParseError(line, "unknown key " + quoted(key));
    if (key == "radial_coeffs") return radial_coeffs();
    in_.expect('=', std::string(key).c_str());
    if (key == "version") {
      const std::string_view version = in_.word();
      if (version != "1.1.0") in_.fail("version 1.1.0 expected, found " + quoted(version));
    } else if (key == "potential_name") {
      file_.name = in_.rest_of_line();
    } else if (key == "potential_tag") {
      potential_tag();
    } else if (key == "scaling") {
      m.scaling = in_.real("scaling");
      if (m.scaling == 0.0) in_.fail("scaling is 0, which makes every radial function zero");
    } else if (key == "species_count") {
      m.species_count = in_.integer("species_count", 1, max_species);
    } else if (key == "radial_basis_type") {
      radial_basis_type();
    } else if (key == "min_dist") {
      m.min_dist = in_.real("min_dist");
    } else if (key == "max_dist") {
      m.max_dist = in_.real("max_dist");
      max_dist_line_ = line;
    } else if (key == "radial_basis_size") {
      m.radial_basis_size = in_.integer("radial_basis_size", 1, max_radial_size);
    } else if (key == "radial_funcs_count") {
      m.radial_funcs_count = in_.integer("radial_funcs_count", 1, max_radial_size);
    } else if (key == "alpha_moments_count") {
      m.moments_count = in_.integer("alpha_moments_count", 1, INT32_MAX);
      moments_count_line_ = line;
    } else if (key == "alpha_index_basic_count") {
      basic_count_ = in_.integer("alpha_index_basic_count", 1, INT32_MAX);
    } else if (key == "alpha_index_basic") {
      basic_moments();
    } else if (key == "alpha_index_times_count") {
      products_count_ = in_.integer("alpha_index_times_count", 0, INT32_MAX);
    } else if (key == "alpha_index_times") {
      products();
    } else if (key == "alpha_scalar_moments") {
      scalars_count_ = in_.integer("alpha_scalar_moments", 1, INT32_MAX);
    } else if (key == "alpha_moment_mapping") {
      moment_mapping();
    } else if (key == "species_coeffs") {
      need("species_coeffs", {"species_count"});
      m.species_coeffs = braced_reals(in_, "species_coeffs", std::size_t(m.species_count));
    } else {  // moment_coeffs
      need("moment_coeffs", {"alpha_moment_mapping"});
      m.moment_coeffs = braced_reals(in_, "moment_coeffs", m.scalar_moments.size());
    }
  }

  static bool is_known(std::string_view key) {
    static constexpr std::string_view known[] = {"version",
                                                 "potential_name",
                                                 "potential_tag",
                                                 "scaling",
                                                 "species_count",
                                                 "radial_basis_type",
                                                 "min_dist",
                                                 "max_dist",
                                                 "radial_basis_size",
                                                 "radial_funcs_count",
                                                 "radial_coeffs",
                                                 "alpha_moments_count",
                                                 "alpha_index_basic_count",
                                                 "alpha_index_basic",
                                                 "alpha_index_times_count",
                                                 "alpha_index_times",
                                                 "alpha_scalar_moments",
                                                 "alpha_moment_mapping",
                                                 "species_coeffs",
                                                 "moment_coeffs"};
    return std::find(std::begin(known), std::end(known), key) != std::end(known);
  }

  void need(const char* what, std::initializer_list<const char*> keys) const {
    for (const char* key : keys)
      if (!seen_.count(key))
        in_.fail(std::string("'") + what + "' comes before '" + key + "', which it depends on");
  }

  void potential_tag() {
    Tag tag = read_tag(in_);
    tag_line_ = in_.line();
    file_.species_names = std::move(tag.species_names);
    file_.model.nearest = std::move(tag.nearest);
    densest_ = std::move(tag.densest);
    summits_ = std::move(tag.summits);
    file_.model.repulsion = std::move(tag.repulsion);
    file_.repulsion_of_pairs = tag.of_pairs;
    file_.tag = std::move(tag.text);
    if (seen_.count("species_count")) check_species_names();
  }

  void check_repulsion() const {
    const Model& m = file_.model;
    if (m.repulsion && m.repulsion->outer() > m.max_dist)
      throw ParseError(tag_line_, "potential_tag: zbl: the repulsion ends at " +
                                      std::to_string(m.repulsion->outer()) + ", beyond max_dist " +
                                      std::to_string(m.max_dist));
  }

  void check_species_names() const {
    const std::size_t names = file_.species_names.size();
    if (names != 0 && int(names) != file_.model.species_count)
      throw ParseError(tag_line_, "potential_tag names " + std::to_string(names) +
                                      " elements, but species_count is " +
                                      std::to_string(file_.model.species_count));
  }

  void radial_basis_type() {
    const std::string_view type = in_.word();
    if (type != "RBChebyshev")
      in_.fail("radial_basis_type " + quoted(type) +
               " is not supported; the one that is: RBChebyshev");
  }

  void radial_coeffs() {
    need("radial_coeffs", {"species_count", "radial_basis_size", "radial_funcs_count"});
    const Model& m = file_.model;
    const int species = m.species_count;
    for (int pair = 0; pair < species * species; ++pair) {
      const std::string_view label = in_.word();
      const std::size_t dash = label.find('-');
      if (label.empty() || dash == std::string_view::npos)
        in_.fail("radial_coeffs: a pair of species such as 0-0 expected, found " +
                 (label.empty() ? in_.found() : quoted(label)));
      Scanner first(label.substr(0, dash)), second(label.substr(dash + 1));
      std::array<int, 2> ends{};
      try {
        ends = {first.integer("species", 0, species - 1),
                second.integer("species", 0, species - 1)};
      } catch (const ParseError& error) {
        in_.fail("radial_coeffs " + quoted(label) + ": " + error.message);
      }
      if (!radial_pairs_.insert(ends).second)
        in_.fail("radial_coeffs: the pair " + quoted(label) + " appears twice");
      auto& block = radial_blocks_.emplace_back(ends, std::vector<double>());
      for (int mu = 0; mu < m.radial_funcs_count; ++mu) {
        const auto row = braced_reals(in_, "radial_coeffs", std::size_t(m.radial_basis_size));
        block.second.insert(block.second.end(), row.begin(), row.end());
      }
    }
  }

  void basic_moments() {
    need("alpha_index_basic", {"alpha_index_basic_count", "radial_funcs_count"});
    Model& m = file_.model;
    const char* what = "alpha_index_basic";
    braced_list(in_, what, [&](std::size_t) {
      const auto [mu, a, b, c] = braced_integers<4>(in_, what);
      if (mu < 0 || mu >= m.radial_funcs_count)
        in_.fail("alpha_index_basic: radial function " + std::to_string(mu) + " is outside 0 .. " +
                 std::to_string(m.radial_funcs_count - 1));
      for (int exponent : {a, b, c})
        if (exponent < 0 || exponent > max_exponent || a + b + c > max_exponent)
          in_.fail("alpha_index_basic: exponents must be 0 or more and add up to at most " +
                   std::to_string(max_exponent));
      m.basic.push_back({mu, a, b, c});
    });
    check_count(what, m.basic.size(), basic_count_);
  }

  void products() {
    need("alpha_index_times",
         {"alpha_index_times_count", "alpha_index_basic", "alpha_moments_count"});
    Model& m = file_.model;
    const char* what = "alpha_index_times";
    braced_list(in_, what, [&](std::size_t) {
      const auto [left, right, multiplicity, out] = braced_integers<4>(in_, what);
      for (int factor : {left, right}) check_moment(what, factor, 0);
      check_moment(what, out, int(m.basic.size()));
      m.products.push_back({left, right, double(multiplicity), out});
      product_lines_.push_back(in_.line());
    });
    check_count(what, m.products.size(), products_count_);
    if (std::size_t(m.moments_count) > m.basic.size() + m.products.size())
      throw ParseError(moments_count_line_, "alpha_moments_count is " +
                                                std::to_string(m.moments_count) + ", but only " +
                                                std::to_string(m.basic.size() + m.products.size()) +
                                                " moments can be computed");
    check_order();
  }

  void check_moment(const char* what, int moment, int low) const {
    if (moment < low || moment >= file_.model.moments_count)
      in_.fail(std::string(what) + ": moment " + std::to_string(moment) + " is outside " +
               std::to_string(low) + " .. " + std::to_string(file_.model.moments_count - 1));
  }

  /// Every factor must be complete before it is used.
  void check_order() {
    const Model& m = file_.model;
    constexpr std::size_t never = SIZE_MAX;
    last_.assign(std::size_t(m.moments_count), never);
    for (std::size_t k = 0; k < m.basic.size(); ++k) last_[k] = 0;
    for (std::size_t t = 0; t < m.products.size(); ++t) last_[m.products[t].out] = t;
    for (std::size_t t = 0; t < m.products.size(); ++t)
      for (int factor : {m.products[t].left, m.products[t].right})
        if (std::size_t(factor) >= m.basic.size() && last_[factor] >= t)
          throw ParseError(product_lines_[t], "alpha_index_times: entry " + std::to_string(t) +
                                                  " uses moment " + std::to_string(factor) +
                                                  " before it is complete");
  }

  void moment_mapping() {
    need("alpha_moment_mapping", {"alpha_scalar_moments", "alpha_index_times"});
    Model& m = file_.model;
    const char* what = "alpha_moment_mapping";
    braced_list(in_, what, [&](std::size_t) {
      const int moment = in_.integer(what, INT32_MIN + 1, INT32_MAX);
      check_moment(what, moment, 0);
      if (last_[moment] == SIZE_MAX)
        in_.fail("alpha_moment_mapping: moment " + std::to_string(moment) + " is never computed");
      m.scalar_moments.push_back(moment);
    });
    check_count(what, m.scalar_moments.size(), scalars_count_);
  }

  void check_count(const char* what, std::size_t have, int announced) const {
    if (have != std::size_t(announced))
      in_.fail(std::string(what) + " has " + std::to_string(have) + " entries, but " +
               std::to_string(announced) + " are announced");
  }

  void check_complete() {
    for (const char* key :
         {"version", "species_count", "radial_basis_type", "min_dist", "max_dist",
          "radial_basis_size", "radial_funcs_count", "alpha_moments_count",
          "alpha_index_basic_count", "alpha_index_basic", "alpha_index_times_count",
          "alpha_index_times", "alpha_scalar_moments", "alpha_moment_mapping"})
      if (!seen_.count(key))
        in_.fail(std::string("the file ends without '") + key + "'; is it truncated?");
    const int coefficients = int(seen_.count("radial_coeffs")) +
                             int(seen_.count("species_coeffs")) + int(seen_.count("moment_coeffs"));
    if (coefficients != 0 && coefficients != 3)
      for (const char* key : {"radial_coeffs", "species_coeffs", "moment_coeffs"})
        if (!seen_.count(key))
          in_.fail(std::string("the file has coefficients but ends without '") + key +
                   "'; is it truncated?");
    const Model& m = file_.model;
    if (m.min_dist < 0.0 || m.max_dist <= m.min_dist)
      throw ParseError(max_dist_line_, "min_dist " + std::to_string(m.min_dist) + ", max_dist " +
                                           std::to_string(m.max_dist) +
                                           ": 0 <= min_dist < max_dist must hold");
    check_species_names();
    for (const double distance : m.nearest)
      if (!(distance > 0.0 && distance <= m.max_dist))
        throw ParseError(tag_line_, "potential_tag: nearest: " + std::to_string(distance) +
                                        " is not above 0 and up to max_dist " +
                                        std::to_string(m.max_dist));
    check_repulsion();
    if (!densest_.empty())
      file_.model.crowding.emplace(file_.model.species_count, m.max_dist, densest_, summits_);
    order_radial_coeffs();
  }

  void order_radial_coeffs() {
    std::sort(radial_blocks_.begin(), radial_blocks_.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    for (const auto& block : radial_blocks_)
      file_.model.radial_coeffs.insert(file_.model.radial_coeffs.end(), block.second.begin(),
                                       block.second.end());
  }

  Scanner& in_;
  PotentialFile file_;
  std::string_view marker_;
  std::set<std::string> seen_;
  std::set<std::array<int, 2>> radial_pairs_;
  std::vector<std::pair<std::array<int, 2>, std::vector<double>>> radial_blocks_;
  std::vector<double> densest_, summits_;
  std::vector<std::size_t> product_lines_, last_;
  std::size_t max_dist_line_ = 0, moments_count_line_ = 0, tag_line_ = 0;
  int basic_count_ = 0, products_count_ = 0, scalars_count_ = 0;
};

inline std::vector<double> binary_matrix(Scanner& in, std::size_t n, const char* what) {
  const std::string_view bytes = in.bytes(n * n * sizeof(double), what);
  std::vector<double> values(n * n);
  std::memcpy(values.data(), bytes.data(), bytes.size());
  if (!std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); }))
    in.fail(std::string(what) + " holds numbers that are not finite");
  return values;
}

inline void read_weights(Scanner& in, ActiveSetBlock& set) {
  const std::pair<const char*, double*> weights[] = {{"energy_weight", &set.energy_weight},
                                                     {"force_weight", &set.force_weight},
                                                     {"stress_weight", &set.stress_weight},
                                                     {"site_en_weight", &set.site_en_weight},
                                                     {"weight_scaling", &set.weight_scaling}};
  for (const auto& [key, value] : weights) {
    const std::string_view word = in.word();
    if (word != key)
      in.fail(std::string("active set: '") + key + "' expected, found " +
              (word.empty() ? in.found() : quoted(word)));
    *value = in.real(key);
  }
  const bool pure = set.force_weight == 0.0 && set.stress_weight == 0.0 &&
                    ((set.energy_weight == 0.0 && set.site_en_weight == 1.0) ||
                     (set.energy_weight == 1.0 && set.site_en_weight == 0.0));
  if (!pure)
    in.fail(
        "active set: only energy_weight 1 (configuration mode) or site_en_weight 1 "
        "(neighbourhood mode), with all other weights 0, is supported");
}

/// Reads what follows the marker of an active set.
inline ActiveSetBlock read_active_set(Scanner& in, std::size_t n) {
  ActiveSetBlock set;
  set.n = int(n);
  read_weights(in, set);
  in.expect('#', "the active set, before its matrices");
  set.A = binary_matrix(in, n, "the active set's matrix");
  const std::vector<double> transposed = binary_matrix(in, n, "the active set's inverse");
  set.inverse.resize(n * n);
  for (std::size_t row = 0; row < n; ++row)
    for (std::size_t column = 0; column < n; ++column)
      set.inverse[row * n + column] = transposed[column * n + row];
  in.expect('#', "the active set, after its matrices");
  if (!are_inverse(n, set.A.data(), set.inverse.data()))
    in.fail("the active set's matrices are not each other's inverse: is the file damaged?");
  for (std::size_t row = 0; row < n; ++row) {
    const int configuration = in.integer("active set: a row's configuration", -1, INT32_MAX);
    const int equation = in.integer("active set: a row's equation", -1, INT32_MAX);
    set.origins.push_back({configuration, equation});
  }
  in.expect('#', "the active set, before its configurations");
  in.skip_space();
  set.configurations_offset = in.position();
  set.configurations_line = in.line();
  return set;
}

}  // namespace parsing

/// Takes a whole file; throws ParseError when anything about it is wrong.
inline PotentialFile parse(std::string_view bytes) {
  Scanner in(bytes);
  parsing::TextReader text(in);
  PotentialFile file = text.read();
  if (text.marker().empty()) return file;
  if (text.marker() != "#MVS_v1.1")
    in.fail("an active set (#MVS_v1.1) or the end of the file expected, found " +
            quoted(text.marker()));
  if (!file.trained()) in.fail("the potential has an active set but no coefficients");
  file.active_set = parsing::read_active_set(in, file.model.parameter_count());
  return file;
}

}  // namespace pescape::mtp
