// Energies, forces, symmetry functions and parameter gradients of any set of atoms; `Neighbors` and
// `Sink` are those of mtp/evaluate.hpp.
#pragma once

#include <algorithm>
#include <vector>

#include "bpnn/angular_backward.hpp"
#include "bpnn/neighborhood.hpp"
#include "bpnn/network.hpp"
#include "bpnn/plan.hpp"
#include "bpnn/radial.hpp"

namespace pescape::bpnn {

/// Scratch memory of one thread.
struct Workspace {
  Neighborhood hood;
  std::vector<Triplets> triplets;  ///< per angular group
  AngularScratch angular;
  Gradient gradient;
  NetworkPass network;
  std::vector<double> functions, inputs, adjoints, row;
};

namespace detail {

/// Symmetry functions of one atom, left in work.functions.
template <class List>
void describe(const Plan& plan, const ElementPlan& element, Workspace& work, int atom,
              const List& list) {
  work.hood.gather(atom, list, plan.species_count(), plan.cutoff());
  work.hood.compute_cutoffs(element.cutoffs);
  work.functions.assign(element.functions(), 0.0);
  for (const RadialGroup& group : element.radial)
    add_radial(work.hood, group, work.functions.data());
  if (work.triplets.size() < element.angular.size()) work.triplets.resize(element.angular.size());
  for (std::size_t g = 0; g < element.angular.size(); ++g) {
    const AngularGroup& group = element.angular[g];
    add_angular(work.hood, group, element.cutoffs[group.cutoff], work.triplets[g], work.angular,
                work.functions.data());
  }
}

inline double site_energy(const ElementPlan& element, Workspace& work) {
  work.inputs.resize(element.functions());
  for (int k = 0; k < element.functions(); ++k)
    work.inputs[k] = element.scale[k] * work.functions[k] + element.offset[k];
  return element.slope * work.network.forward(element.layers, work.inputs.data()) +
         element.intercept;
}

/// The energy's gradient with respect to the neighbours, left in work.gradient.
inline void backward(const ElementPlan& element, Workspace& work) {
  const std::vector<double>& by_input = work.network.backward(element.layers);
  work.adjoints.resize(element.functions());
  for (int k = 0; k < element.functions(); ++k)
    work.adjoints[k] = element.slope * element.scale[k] * by_input[k];
  work.gradient.clear(work.hood.r2.size());
  for (const RadialGroup& group : element.radial)
    for (const RadialGroup::Term& term : group.terms)
      backward_radial(work.hood, group, term, work.adjoints[term.function], work.gradient);
  for (std::size_t g = 0; g < element.angular.size(); ++g)
    backward_angular(work.hood, element.angular[g], work.triplets[g], work.adjoints.data(),
                     work.angular, work.gradient);
}

/// Calls f(k, gx, gy, gz) for each neighbour.
template <class F>
void for_each_gradient(const Neighborhood& hood, const Gradient& g, F&& f) {
  for (int k = 0; k < hood.size(); ++k)
    f(k, g.along[k] * hood.x[k] + g.across_x[k], g.along[k] * hood.y[k] + g.across_y[k],
      g.along[k] * hood.z[k] + g.across_z[k]);
}

/// An atom's row, in the plan's order; all zero outside the species' own part.
inline const double* parameter_row(const Plan& plan, const ElementPlan& element, int species,
                                   Parameters which, Workspace& work) {
  work.row.assign(plan.row_size(which), 0.0);
  double* out = &work.row[plan.first_in_row(which, species)];
  const double* inputs = work.inputs.data();
  if (which == Parameters::output_layer) {
    work.network.output_gradient(element.layers, inputs, element.slope, out);
    return work.row.data();
  }
  const bool by_weights = which == Parameters::all_weights;
  if (!by_weights) out = std::copy_n(inputs, element.functions(), out);
  work.network.weight_gradient(element.layers, inputs, element.slope, by_weights, out);
  return work.row.data();
}

/// How far the symmetry functions are beyond the training data, in widths of its ranges; 0 within.
inline double range_excess(const Ranges& ranges, const std::vector<double>& functions) {
  constexpr double rounding = 1e-9;  // widths
  double largest = 0.0;
  for (std::size_t k = 0; k < ranges.width.size(); ++k) {
    const double beyond = std::max(ranges.low[k] - functions[k], functions[k] - ranges.high[k]);
    if (beyond > rounding * ranges.width[k]) largest = std::max(largest, beyond / ranges.width[k]);
  }
  return largest;
}

template <class List, class Sink>
void evaluate_one(const Plan& plan, Workspace& work, int i, const List& list, Sink& sink) {
  const ElementPlan& element = plan.element(list.species(i));
  describe(plan, element, work, i, list);
  sink.site_energy(i, site_energy(element, work));
  backward(element, work);
  const Neighborhood& hood = work.hood;
  for_each_gradient(hood, work.gradient, [&](int k, double gx, double gy, double gz) {
    sink.pair(i, hood.index[k], hood.x[k], hood.y[k], hood.z[k], gx, gy, gz);
  });
}

}  // namespace detail

/// Site energies and pair gradients of the `count` atoms listed in `atoms`.
template <class Neighbors, class Sink>
void evaluate(const Plan& plan, Workspace& work, const int* atoms, int count,
              const Neighbors& neighbors, Sink& sink) {
  for (int a = 0; a < count; ++a)
    if (neighbors.species(atoms[a]) >= 0)
      detail::evaluate_one(plan, work, atoms[a], neighbors, sink);
}

/// The same, and the atoms' rows and how far they are beyond the training data's ranges.
template <class Neighbors, class Sink>
void evaluate_with_parameters(const Plan& plan, Workspace& work, Parameters which, const int* atoms,
                              int count, const Neighbors& neighbors, Sink& sink) {
  for (int a = 0; a < count; ++a) {
    const int i = atoms[a], species = neighbors.species(i);
    if (species < 0) continue;
    detail::evaluate_one(plan, work, i, neighbors, sink);
    const ElementPlan& element = plan.element(species);
    const double* row = detail::parameter_row(plan, element, species, which, work);
    sink.parameters(&i, 1, row, 1);
    sink.range_excess(i, detail::range_excess(element.ranges, work.functions));
  }
}

/// Scratch of `for_each_derivative`.
struct JacobianScratch {
  std::vector<double> value, exponent, between, angle;

  TripletDerivatives room_for(const Triplets& triplets) {
    const std::size_t size = std::size_t(triplets.blocks() + 1) * block_size;
    for (auto* array : {&value, &exponent, &between, &angle})
      if (array->size() < size) array->resize(size);
    return {value.data(), exponent.data(), between.data(), angle.data()};
  }
};

/// After `detail::describe`: calls f(function, neighbour, derivative by its position) for every
/// term of every function; terms of one function add up.
template <class F>
void for_each_derivative(const ElementPlan& element, Workspace& work, JacobianScratch& scratch,
                         F&& f) {
  const Neighborhood& hood = work.hood;
  const auto scatter = [&](int function) {
    detail::for_each_gradient(hood, work.gradient, [&](int k, double gx, double gy, double gz) {
      const double g[3] = {gx, gy, gz};
      f(function, k, g);
    });
  };
  for (const RadialGroup& group : element.radial)
    for (const RadialGroup::Term& term : group.terms) {
      work.gradient.clear(hood.r2.size());
      backward_radial(hood, group, term, 1.0, work.gradient);
      scatter(term.function);
    }
  for (std::size_t g = 0; g < element.angular.size(); ++g) {
    const TripletDerivatives room = scratch.room_for(work.triplets[g]);
    for (const AngularGroup::Term& term : element.angular[g].terms) {
      work.gradient.clear(hood.r2.size());
      backward_term(hood, element.angular[g], term, work.triplets[g], room, work.gradient);
      scatter(term.function);
    }
  }
}

}  // namespace pescape::bpnn
