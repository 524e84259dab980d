// Reads the text of pescape's own file of a Behler-Parrinello network; the format is described in
// calculators/bpnn/formats/own.py. No I/O: bytes in, plain data out.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bpnn/model.hpp"
#include "elements.hpp"
#include "inverse.hpp"
#include "text.hpp"

namespace pescape::bpnn {

enum class ScalingKind { none, range, range_centered, centered, sigma };

/// How symmetry functions become inputs, and their statistics in the training data, which are
/// empty where the file has none.
struct Scaling {
  ScalingKind kind;
  double low, high, tolerance;
  std::vector<double> minimum, maximum, mean, sigma;
};

/// What the file says about an element besides the model.
struct ElementNotes {
  double atom_energy, intercept;  ///< eV; the model has their sum
  Scaling scaling;
};

/// The rows that extrapolation grades are measured against.
struct ActiveSetBlock {
  Parameters parameters = Parameters::output_layer;  ///< what rows are made of
  bool neighborhood_mode = true;  ///< rows are of atoms; otherwise of whole configurations
  double weight_scaling = 2.0;    ///< a configuration of N atoms is divided by N^(scaling/2)
  int size = 0;                   ///< number of rows and of parameters
  std::vector<double> matrix;     ///< A, row-major (size, size)
  std::vector<double> inverse;    ///< A^-1, row-major (size, size)
  std::vector<double> leverage;   ///< W of grades |b W|^2, row-major (size, size); or empty
  std::vector<double> origins;    ///< (size, 2): configuration and atom of each row
  int configuration_count = 0;
  std::size_t configurations_begin = 0, configurations_end = 0;  ///< bytes of their text
  std::size_t configurations_line = 0;                           ///< number of its first line
};

struct PotentialFile {
  std::string name;
  Model model;  ///< with layers that have no weights when untrained
  std::vector<std::string> species_names;
  std::vector<ElementNotes> notes;
  double length_unit = 1.0, energy_unit = 1.0;  ///< of the original file, Å and eV
  std::vector<double> normalization;            ///< mean, energy and length, or empty
  std::optional<ActiveSetBlock> active_set;
  bool trained = true;
};

namespace parsing {

// Larger than any real potential, small enough that products of them cannot overflow.
inline constexpr int max_functions = 100000, max_nodes = 100000, max_layers = 1000;
inline constexpr std::size_t max_rows = 100000;

template <class Value>
struct Named {
  std::string_view name;
  Value value;
};

inline constexpr Named<Kind> kinds[] = {{"G2", Kind::radial},
                                        {"G4", Kind::narrow},
                                        {"G5", Kind::wide},
                                        {"G2W", Kind::weighted_radial},
                                        {"G4W", Kind::weighted_narrow},
                                        {"C2", Kind::compact_radial},
                                        {"C4", Kind::compact_narrow},
                                        {"C5", Kind::compact_wide},
                                        {"C2W", Kind::weighted_compact_radial},
                                        {"C4W", Kind::weighted_compact_narrow},
                                        {"C5W", Kind::weighted_compact_wide}};

inline constexpr Named<CutoffKind> cutoffs[] = {
    {"hard", CutoffKind::hard},       {"cosine", CutoffKind::cosine},
    {"tanh3", CutoffKind::tanh3},     {"tanh3-normalised", CutoffKind::normalized_tanh3},
    {"exp", CutoffKind::exponential}, {"poly1", CutoffKind::poly1},
    {"poly2", CutoffKind::poly2},     {"poly3", CutoffKind::poly3},
    {"poly4", CutoffKind::poly4},     {"amp-polynomial", CutoffKind::power},
    {"window1", CutoffKind::window1}, {"window2", CutoffKind::window2},
    {"window3", CutoffKind::window3}, {"window4", CutoffKind::window4},
    {"skewed1", CutoffKind::skewed1}, {"skewed2", CutoffKind::skewed2},
    {"skewed3", CutoffKind::skewed3}, {"skewed4", CutoffKind::skewed4}};

inline constexpr Named<Activation> activations[] = {
    {"linear", Activation::linear},     {"tanh", Activation::tanh},
    {"sigmoid", Activation::logistic},  {"softplus", Activation::softplus},
    {"relu", Activation::relu},         {"gaussian", Activation::gaussian},
    {"cosine", Activation::cosine},     {"exp", Activation::exponential},
    {"harmonic", Activation::harmonic}, {"reverse-sigmoid", Activation::reverse_logistic}};

inline constexpr Named<Parameters> row_kinds[] = {{"output", Parameters::output_layer},
                                                  {"all", Parameters::all_weights},
                                                  {"inputs", Parameters::inputs}};

inline constexpr Named<ScalingKind> scalings[] = {{"none", ScalingKind::none},
                                                  {"range", ScalingKind::range},
                                                  {"range-centered", ScalingKind::range_centered},
                                                  {"centered", ScalingKind::centered},
                                                  {"sigma", ScalingKind::sigma}};

/// The name a table gives to a value.
template <class Value, std::size_t n>
std::string name_of(const Named<Value> (&table)[n], Value value) {
  for (const Named<Value>& entry : table)
    if (entry.value == value) return std::string(entry.name);
  return {};
}

/// The value a table gives to a name.
template <class Value, std::size_t n>
Value named(const Lines& in, const Named<Value> (&table)[n], std::string_view name,
            const char* what) {
  for (const Named<Value>& entry : table)
    if (entry.name == name) return entry.value;
  std::string all;
  for (const Named<Value>& entry : table)
    all += (all.empty() ? "" : ", ") + std::string(entry.name);
  in.fail(std::string("unknown ") + what + " " + quoted(name) + ": it must be one of " + all);
}

/// Reads one part of the file after the other.
class Reader {
 public:
  explicit Reader(std::string_view text) : in_(text) {}

  PotentialFile read() {
    header();
    for (std::size_t n = 0; n < file_.species_names.size(); ++n) element(n);
    if (const auto& next = in_.peek(); !next.empty() && next[0] == "active_set") active_set();
    in_.keyword("end", 0);
    if (!in_.peek().empty()) in_.fail("the file should end here, found " + quoted(in_.peek()[0]));
    return std::move(file_);
  }

 private:
  void header() {
    const auto version = in_.keyword("pescape-bpnn", 1)[0];
    if (version != "1")
      in_.fail("version 1 expected, found " + quoted(version) + ": a newer pescape reads it");
    for (const std::string_view word : in_.keyword("name"))
      file_.name += (file_.name.empty() ? "" : " ") + std::string(word);
    for (const std::string_view name : in_.keyword("species")) {
      const int number = atomic_number(name);
      if (number == 0) in_.fail("unknown element " + quoted(name) + " among the species");
      if (species_of(name) >= 0) in_.fail(quoted(name) + " appears twice among the species");
      file_.species_names.emplace_back(name);
      file_.model.atomic_numbers.push_back(number);
    }
    if (file_.species_names.empty()) in_.fail("a potential needs at least one species");
    const auto units = in_.keyword("units", 2);
    file_.length_unit = positive(units[0], "the unit of length");
    file_.energy_unit = positive(units[1], "the unit of energy");
    if (const auto& next = in_.peek(); !next.empty() && next[0] == "normalization") {
      const auto words = in_.keyword("normalization", 3);
      file_.normalization = {in_.real(words[0], "mean_energy"), positive(words[1], "conv_energy"),
                             positive(words[2], "conv_length")};
    }
  }

  double positive(std::string_view word, const std::string& what) const {
    const double value = in_.real(word, what);
    if (!(value > 0.0)) in_.fail(what + " must be a positive number, not " + std::string(word));
    return value;
  }

  int species_of(std::string_view name) const {
    const auto& names = file_.species_names;
    const auto place = std::find(names.begin(), names.end(), name);
    return place == names.end() ? -1 : int(place - names.begin());
  }

  void element(std::size_t number) {
    const std::string& name = file_.species_names[number];
    const auto found = in_.keyword("element", 1)[0];
    if (found != name) in_.fail("element " + name + " expected, found " + quoted(found));
    Element& element = file_.model.elements.emplace_back();
    ElementNotes& notes = file_.notes.emplace_back();
    notes.atom_energy = quantity("atom_energy");
    element.slope = quantity("slope");
    notes.intercept = quantity("intercept");
    element.intercept = notes.intercept + notes.atom_energy;
    const int count =
        in_.integer(in_.keyword("functions", 1)[0], "the number of functions", 1, max_functions);
    for (int k = 0; k < count; ++k)
      element.functions.push_back(
          function("symmetry function " + std::to_string(k + 1) + " of " + std::to_string(count)));
    notes.scaling = scaling(std::size_t(count));
    scale(element, notes.scaling);
    element.ranges = ranges(notes.scaling);
    layers(element, number == 0);
  }

  double quantity(const char* key) { return in_.real(in_.keyword(key, 1)[0], key); }

  SymmetryFunction function(const std::string& which) {
    const auto words = in_.take(which);
    if (words.size() != 10)
      in_.fail("10 words expected for a symmetry function, found " + std::to_string(words.size()));
    SymmetryFunction f{};
    f.kind = named(in_, kinds, words[0], "symmetry function");
    const int wanted = is_weighted(f.kind) ? 0 : is_radial(f.kind) ? 1 : 2;
    f.neighbor1 = neighbor(words[1], words[0], 1, wanted);
    f.neighbor2 = neighbor(words[2], words[0], 2, wanted);
    f.eta = in_.real(words[3], "eta");
    f.shift = in_.real(words[4], "shift");
    f.lambda = in_.real(words[5], "lambda");
    f.zeta = in_.real(words[6], "zeta");
    f.cutoff = {named(in_, cutoffs, words[7], "cut-off function"),
                in_.real(words[8], "the cut-off radius"),
                in_.real(words[9], "the cut-off's number")};
    check_cutoff(f);
    if (!is_radial(f.kind)) check_angle(f);
    return f;
  }

  /// The species of one of a function's neighbor elements, of which its kind has `wanted`.
  int neighbor(std::string_view word, std::string_view kind, int number, int wanted) const {
    if (number > wanted) {
      if (word != "-")
        in_.fail("'-' expected, found " + quoted(word) + ": " + std::string(kind) + " has " +
                 std::to_string(wanted) + " neighbor elements");
      return -1;
    }
    const int species = species_of(word);
    if (species < 0)
      in_.fail("the neighbor element " + quoted(word) + " is not one of the species");
    return species;
  }

  void check_cutoff(const SymmetryFunction& f) const {
    const auto [kind, radius, parameter] = f.cutoff;
    if (!(radius > 0.0))
      in_.fail("a cut-off radius must be positive, not " + std::to_string(radius));
    if (is_window(kind) != is_compact(f.kind))
      in_.fail("windows belong to compact functions, and to them alone");
    if (is_window(kind)) {
      if (!(parameter < radius))
        in_.fail("the inner radius of a window must be below the outer one");
    } else if (kind == CutoffKind::power) {
      if (!(parameter > 0.0)) in_.fail("gamma of Amp's polynomial must be positive");
    } else if (!(parameter >= 0.0 && parameter < 1.0)) {
      in_.fail("the inner fraction of a cut-off must be in [0, 1)");
    }
  }

  void check_angle(const SymmetryFunction& f) const {
    if (is_compact(f.kind)) {
      const double left = f.lambda, right = f.zeta, center = (left + right) / 2.0;
      if (!(left < right && right <= left + 360.0 && (left >= 0.0 || center == 0.0) &&
            (right <= 180.0 || center == 180.0)))
        in_.fail("angles must rise, and stay within 0 and 180 unless one of these is their center");
      return;
    }
    if (!(std::fabs(f.lambda) <= 1.0)) in_.fail("lambda must be in [-1, 1]");
    // Below 1 the forces of collinear atoms are infinite.
    if (!(f.zeta >= 1.0)) in_.fail("zeta must be at least 1");
  }

  Scaling scaling(std::size_t count) {
    const auto words = in_.keyword("scaling");
    if (words.size() < 4)
      in_.fail("'scaling' is followed by its kind, low, high, tolerance and columns");
    Scaling scaling{named(in_, scalings, words[0], "scaling"),
                    in_.real(words[1], "the low end of the scaling"),
                    in_.real(words[2], "the high end of the scaling"),
                    in_.real(words[3], "the tolerance of the scaling"),
                    {},
                    {},
                    {},
                    {}};
    if (scaling.low == scaling.high) in_.fail("the ends of a scaling's range must differ");
    const Named<std::vector<double>*> statistics[] = {{"minimum", &scaling.minimum},
                                                      {"maximum", &scaling.maximum},
                                                      {"mean", &scaling.mean},
                                                      {"sigma", &scaling.sigma}};
    std::vector<std::vector<double>*> columns;
    for (const auto& [name, column] : statistics)
      if (columns.size() + 4 < words.size() && words[columns.size() + 4] == name)
        columns.push_back(column);
    if (columns.size() + 4 != words.size())
      in_.fail("columns must be among minimum, maximum, mean, sigma, in this order");
    scaling_line_ = in_.line();
    if (columns.empty()) return scaling;
    const std::vector<double> values = in_.table(count, columns.size(), "the scaling");
    for (std::size_t k = 0; k < values.size(); ++k)
      columns[k % columns.size()]->push_back(values[k]);
    return scaling;
  }

  /// Turns what the training data had into the network inputs' scale and offset.
  void scale(Element& element, const Scaling& s) const {
    const std::string kind = "scaling '" + name_of(scalings, s.kind) + "'";
    const std::size_t count = element.functions.size();
    element.scale.assign(count, 1.0);
    element.offset.assign(count, 0.0);
    if (s.kind == ScalingKind::none) return;
    const bool range = s.kind == ScalingKind::range || s.kind == ScalingKind::range_centered;
    const auto need = [&](const std::vector<double>& column, const char* name) {
      if (column.empty())
        throw ParseError(scaling_line_, kind + " needs the " + name + " of all functions");
    };
    if (range) need(s.minimum, "minimum"), need(s.maximum, "maximum");
    if (s.kind != ScalingKind::range) need(s.mean, "mean");
    if (s.kind == ScalingKind::sigma) need(s.sigma, "sigma");
    for (std::size_t k = 0; k < count; ++k) {
      if (s.kind == ScalingKind::centered) {
        element.offset[k] = -s.mean[k];
        continue;
      }
      const double width = range ? s.maximum[k] - s.minimum[k] : s.sigma[k];
      if (s.tolerance != 0.0 && !(width > s.tolerance)) continue;  // stays as it is
      if (!(width > 0.0))
        throw ParseError(scaling_line_, "symmetry function " + std::to_string(k + 1) + " has " +
                                            (range ? "maximum - minimum" : "sigma") + " = " +
                                            std::to_string(width) + ": " + kind + " divides by it");
      const double origin = s.kind == ScalingKind::range ? s.minimum[k] : s.mean[k];
      element.scale[k] = (s.high - s.low) / width;
      element.offset[k] = s.low - element.scale[k] * origin;
    }
  }

  /// What the training data had, and the width of it: at least sigma, where that is the divisor.
  static Ranges ranges(const Scaling& s) {
    if (s.minimum.empty() || s.maximum.empty()) return {};
    Ranges found{s.minimum, s.maximum, {}};
    for (std::size_t k = 0; k < s.minimum.size(); ++k) {
      double width = s.maximum[k] - s.minimum[k];
      if (s.kind == ScalingKind::sigma) width = std::max(width, s.sigma[k]);
      found.width.push_back(width);
    }
    return found;
  }

  void layers(Element& element, bool first) {
    const auto words = in_.keyword("layers", 2);
    const int count = in_.integer(words[0], "the number of layers", 1, max_layers);
    if (words[1] != "trained" && words[1] != "untrained")
      in_.fail("'trained' or 'untrained' expected, found " + quoted(words[1]));
    const bool trained = words[1] == "trained";
    if (!first && trained != file_.trained)
      in_.fail("some elements have a trained network and some have not");
    file_.trained = trained;
    int width = int(element.functions.size());
    for (int k = 1; k <= count; ++k) {
      const auto head = in_.keyword("layer", 3);
      Layer layer{in_.integer(head[0], "the number of inputs", 1, max_nodes),
                  in_.integer(head[1], "the number of outputs", 1, max_nodes),
                  {},
                  {},
                  named(in_, activations, head[2], "activation")};
      const std::string which = "layer " + std::to_string(k);
      if (layer.inputs != width)
        in_.fail(which + " has " + std::to_string(layer.inputs) + " inputs, not " +
                 std::to_string(width));
      width = layer.outputs;
      if (trained) {
        layer.weights =
            in_.table(std::size_t(layer.inputs), std::size_t(width), "the weights of " + which);
        layer.bias = in_.table(1, std::size_t(width), "the biases of " + which);
      }
      element.layers.push_back(std::move(layer));
    }
    if (width != 1) in_.fail("the network has " + std::to_string(width) + " outputs, not 1");
  }

  /// How many parameters an active set is about.
  std::size_t parameter_count(Parameters which) const {
    std::size_t count = 0;
    for (const Element& element : file_.model.elements)
      for (const Layer& layer : element.layers) {
        const std::size_t weights = std::size_t(layer.inputs) * layer.outputs;
        if (which == Parameters::inputs && &layer == &element.layers.front())
          count += std::size_t(layer.inputs) + layer.outputs;
        else if (which != Parameters::output_layer || &layer == &element.layers.back())
          count += weights + layer.outputs;
      }
    return count;
  }

  void active_set() {
    const auto words = in_.keyword("active_set", 6);
    if (!file_.trained) in_.fail("the potential has an active set but no weights");
    ActiveSetBlock set;
    set.parameters = named(in_, row_kinds, words[0], "kind of rows");
    set.neighborhood_mode = either(words[1], "neighborhood", "configuration");
    set.weight_scaling = in_.real(words[2], "the weight scaling");
    const std::size_t wanted = parameter_count(set.parameters);
    const auto count = [&](std::string_view word, const char* what) {
      return std::size_t(in_.integer(word, what, 0, 1000000000));
    };
    const std::size_t n = count(words[3], "the number of rows");
    set.configuration_count = int(count(words[4], "the number of configurations"));
    const std::size_t lines = count(words[5], "the number of lines");
    if (n != wanted || n > max_rows)
      in_.fail(std::to_string(n) + " rows, but the potential has " + std::to_string(wanted) +
               " parameters of the kind " + quoted(words[0]));
    set.size = int(n);
    set.matrix = in_.table(n, n, "the active set's matrix");
    set.inverse = in_.table(n, n, "the active set's inverse");
    if (!are_inverse(n, set.matrix.data(), set.inverse.data()))
      in_.fail("the active set's matrices are not each other's inverse: is the file damaged?");
    if (const auto& next = in_.peek(); !next.empty() && next[0] == "leverage") {
      in_.keyword("leverage", 0);
      set.leverage = in_.table(n, n, "the matrix of leverages");
    }
    set.origins = in_.table(n, 2, "the origins");
    set.configurations_begin = in_.position();
    set.configurations_line = in_.line() + 1;
    in_.skip(lines, "the active set's configurations");
    set.configurations_end = in_.position();
    file_.active_set = std::move(set);
  }

  /// Whether the word is the first of two that are possible.
  bool either(std::string_view word, const char* yes, const char* no) const {
    if (word != yes && word != no)
      in_.fail(std::string("'") + yes + "' or '" + no + "' expected, found " + quoted(word));
    return word == yes;
  }

  Lines in_;
  PotentialFile file_;
  std::size_t scaling_line_ = 0;  ///< of the scaling read last
};

}  // namespace parsing

/// Takes a whole file; throws ParseError when anything about it is wrong.
inline PotentialFile parse(std::string_view bytes) { return parsing::Reader(bytes).read(); }

}  // namespace pescape::bpnn
