// A Behler-Parrinello network compiled for evaluation: symmetry functions that share what is
// expensive, exponentials and powers, are grouped.
#pragma once

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "bpnn/model.hpp"

namespace pescape::bpnn {

/// Radial functions of one neighbour species and one cut-off function.
struct RadialGroup {
  struct Term {
    double eta, shift, weight;
    int function;  ///< of the element
  };
  int species;
  int cutoff;  ///< in ElementPlan::cutoffs
  std::vector<Term> terms;
};

/// Angular functions of one pair of species, one cut-off function and one shift. Every function is
/// the product of one of the exponentials and one of the powers, or one of the windows of angles.
struct AngularGroup {
  struct Power {
    int base;  ///< (1 + lambdas[base] cos)
    double zeta;
    int integer;  ///< zeta, or -1 where it is none
  };
  struct Window {
    double middle, half_width;  ///< radians
    int order;                  ///< of its polynomial

    bool operator==(const Window& o) const {
      return middle == o.middle && half_width == o.half_width && order == o.order;
    }
  };
  struct Term {
    int eta, angle;  ///< in etas; in powers or windows
    double weight;   ///< with 2^(1 - zeta)
    int function;
  };
  bool narrow;  ///< contains the distance between the neighbours
  int species1, species2;
  int cutoff;
  double shift;
  std::vector<double> etas, lambdas;
  std::vector<Power> powers;    ///< sorted by base
  std::vector<Window> windows;  ///< instead of powers
  std::vector<Term> terms;

  bool has_windows() const { return !windows.empty(); }
  std::size_t angles() const { return has_windows() ? windows.size() : powers.size(); }
  std::size_t matrix_size() const { return etas.size() * angles(); }
  std::size_t place(const Term& term) const { return term.eta * angles() + term.angle; }
};

struct ElementPlan {
  std::vector<CutoffFunction> cutoffs;
  std::vector<RadialGroup> radial;
  std::vector<AngularGroup> angular;
  std::vector<double> scale, offset;
  std::vector<Layer> layers;
  double slope, intercept;
  Ranges ranges;

  int functions() const { return int(scale.size()); }
};

class Plan {
 public:
  explicit Plan(const Model& model) : cutoff_(model.cutoff()) {
    const int species = int(model.elements.size());
    if (model.atomic_numbers.size() != model.elements.size())
      throw std::invalid_argument("atomic_numbers must hold one number per element");
    for (const Element& element : model.elements) {
      check(element, species);
      elements_.push_back(compile(element, model.atomic_numbers));
    }
    for (const Element& element : model.elements) {
      int weights = 0;
      for (const Layer& layer : element.layers)
        weights += int(layer.weights.size() + layer.bias.size());
      const Layer& first = element.layers.front();
      add(Parameters::output_layer, element.layers.back().inputs + 1);
      add(Parameters::all_weights, weights);
      add(Parameters::inputs, first.inputs + weights - int(first.weights.size()));
    }
  }

  int species_count() const { return int(elements_.size()); }
  double cutoff() const { return cutoff_; }
  const ElementPlan& element(int species) const { return elements_[species]; }

  /// Length of an atom's row, which has a part for each element; the others' are zero. In a part,
  /// inputs come first, then layer after layer, weights before biases.
  int row_size(Parameters which) const { return first_[int(which)].back(); }
  /// Where the part of a species begins.
  int first_in_row(Parameters which, int species) const { return first_[int(which)][species]; }
  int most_functions() const {
    int most = 0;
    for (const ElementPlan& element : elements_) most = std::max(most, element.functions());
    return most;
  }

 private:
  static void check(const Element& element, int species) {
    const auto require = [](bool condition, const char* message) {
      if (!condition) throw std::invalid_argument(message);
    };
    const std::size_t functions = element.functions.size();
    require(functions > 0, "an element has no symmetry functions");
    require(element.scale.size() == functions && element.offset.size() == functions,
            "scale and offset must hold one number per symmetry function");
    require(!element.layers.empty(), "an element has no layers");
    int width = int(functions);
    for (const Layer& layer : element.layers) {
      require(layer.inputs == width, "a layer's inputs must be the outputs of the one before");
      require(layer.weights.size() == std::size_t(layer.inputs) * layer.outputs &&
                  layer.bias.size() == std::size_t(layer.outputs),
              "a layer's weights must be (inputs, outputs) and its bias (outputs,)");
      width = layer.outputs;
    }
    require(width == 1, "the last layer must have one output");
    for (const SymmetryFunction& f : element.functions) {
      require(f.cutoff.radius > 0.0, "a cut-off radius must be positive");
      const bool known = !is_weighted(f.kind), pair = known && !is_radial(f.kind);
      require(!known || (f.neighbor1 >= 0 && f.neighbor1 < species),
              "a symmetry function's first neighbour is no species of the potential");
      require(!pair || (f.neighbor2 >= 0 && f.neighbor2 < species),
              "a symmetry function's second neighbour is no species of the potential");
      require(is_compact(f.kind) == is_window(f.cutoff.kind),
              "windows of distances belong to compact symmetry functions, and to them alone");
      require(!is_window(f.cutoff.kind) || f.cutoff.parameter < f.cutoff.radius,
              "a window's inner radius must be below its outer one");
    }
  }

  template <class T>
  static int place_of(std::vector<T>& list, const T& item) {
    const auto found = std::find(list.begin(), list.end(), item);
    if (found != list.end()) return int(found - list.begin());
    list.push_back(item);
    return int(list.size()) - 1;
  }

  static ElementPlan compile(const Element& element, const std::vector<int>& numbers) {
    ElementPlan plan;
    plan.scale = element.scale, plan.offset = element.offset;
    plan.layers = element.layers;
    plan.slope = element.slope, plan.intercept = element.intercept;
    plan.ranges = element.ranges;
    const int species = int(numbers.size());
    for (int k = 0; k < int(element.functions.size()); ++k) {
      const SymmetryFunction& f = element.functions[k];
      const int first = is_weighted(f.kind) ? 0 : f.neighbor1,
                last = is_weighted(f.kind) ? species - 1 : f.neighbor1;
      for (int a = first; a <= last; ++a) {
        const double weight = is_weighted(f.kind) ? numbers[a] : 1.0;
        if (is_radial(f.kind))
          add_radial(plan, f, a, weight, k);
        else if (!is_weighted(f.kind))
          add_angular(plan, f, a, f.neighbor2, weight, k);
        else
          for (int b = a; b < species; ++b) add_angular(plan, f, a, b, weight * numbers[b], k);
      }
    }
    for (AngularGroup& group : plan.angular) sort_powers(group);
    return plan;
  }

  static void add_radial(ElementPlan& plan, const SymmetryFunction& f, int species, double weight,
                         int function) {
    const int cutoff = place_of(plan.cutoffs, f.cutoff);
    auto group = std::find_if(plan.radial.begin(), plan.radial.end(), [&](const RadialGroup& g) {
      return g.species == species && g.cutoff == cutoff;
    });
    if (group == plan.radial.end())
      group = plan.radial.insert(plan.radial.end(), {species, cutoff, {}});
    group->terms.push_back({f.eta, f.shift, weight, function});
  }

  static void add_angular(ElementPlan& plan, const SymmetryFunction& f, int a, int b, double weight,
                          int function) {
    const int cutoff = place_of(plan.cutoffs, f.cutoff);
    const bool narrow = is_narrow(f.kind), windows = is_compact(f.kind);
    if (a > b) std::swap(a, b);
    auto group = std::find_if(plan.angular.begin(), plan.angular.end(), [&](const AngularGroup& g) {
      return g.narrow == narrow && g.species1 == a && g.species2 == b && g.cutoff == cutoff &&
             g.shift == f.shift && g.has_windows() == windows;
    });
    if (group == plan.angular.end())
      group = plan.angular.insert(plan.angular.end(),
                                  {narrow, a, b, cutoff, f.shift, {}, {}, {}, {}, {}});
    const int angle = windows ? place_of(group->windows, angle_window(f)) : add_power(*group, f);
    const double front = windows ? 1.0 : std::pow(2.0, 1.0 - f.zeta);
    group->terms.push_back({place_of(group->etas, f.eta), angle, weight * front, function});
  }

  static AngularGroup::Window angle_window(const SymmetryFunction& f) {
    constexpr double half_degree = 3.14159265358979323846 / 360.0;
    return {(f.lambda + f.zeta) * half_degree, (f.zeta - f.lambda) * half_degree,
            window_order(f.cutoff.kind)};
  }

  static int add_power(AngularGroup& group, const SymmetryFunction& f) {
    const int base = place_of(group.lambdas, f.lambda);
    for (std::size_t k = 0; k < group.powers.size(); ++k)
      if (group.powers[k].base == base && group.powers[k].zeta == f.zeta) return int(k);
    const bool whole = f.zeta == std::floor(f.zeta) && f.zeta >= 0.0 && f.zeta <= 64.0;
    group.powers.push_back({base, f.zeta, whole ? int(f.zeta) : -1});
    return int(group.powers.size()) - 1;
  }

  static void sort_powers(AngularGroup& group) {
    std::vector<int> order(group.powers.size()), place(group.powers.size());
    for (std::size_t k = 0; k < order.size(); ++k) order[k] = int(k);
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return group.powers[a].base < group.powers[b].base; });
    std::vector<AngularGroup::Power> sorted;
    for (std::size_t k = 0; k < order.size(); ++k) {
      place[order[k]] = int(k);
      sorted.push_back(group.powers[order[k]]);
    }
    group.powers = sorted;
    if (!group.has_windows())
      for (AngularGroup::Term& term : group.terms) term.angle = place[term.angle];
  }

  void add(Parameters which, int size) {
    std::vector<int>& first = first_[int(which)];
    first.push_back(first.back() + size);
  }

  double cutoff_;
  std::vector<ElementPlan> elements_;
  std::vector<int> first_[3] = {{0}, {0}, {0}};  ///< [Parameters][species], then the total
};

}  // namespace pescape::bpnn
