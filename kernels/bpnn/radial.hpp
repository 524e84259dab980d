// Radial symmetry functions of one atom, forward and in reverse.
#pragma once

#include "bpnn/neighborhood.hpp"

namespace pescape::bpnn {

/// Calls f(k, mask, r, exponential factor) for the packs of a term's neighbours.
template <class F>
PESCAPE_INLINE void for_each_radial(const Neighborhood& hood, const RadialGroup& group,
                                    const RadialGroup::Term& term, F&& f) {
  using V = Pack<double>;
  const int end = hood.end(group.species);
  for (int k = hood.begin(group.species); k < end; k += V::lanes) {
    const LaneMask mask = first_lanes(end - k);
    const V r2 = load(&hood.r2[k]), distance = r2 * load(&hood.inverse_r[k]) - V(term.shift);
    f(k, mask, distance, exp(V(-term.eta) * distance * distance));
  }
}

/// Adds the group's functions to `functions`.
inline void add_radial(const Neighborhood& hood, const RadialGroup& group, double* functions) {
  using V = Pack<double>;
  const double* cutoff = hood.cutoff[group.cutoff].data();
  for (const RadialGroup::Term& term : group.terms) {
    V total(0.0);
    for_each_radial(hood, group, term, [&](int k, LaneMask mask, V, V gauss) {
      total += keep(gauss * load(cutoff + k), mask);
    });
    functions[term.function] += term.weight * sum(total);
  }
}

/// Adds the gradient of one term, times `adjoint`.
inline void backward_radial(const Neighborhood& hood, const RadialGroup& group,
                            const RadialGroup::Term& term, double adjoint, Gradient& gradient) {
  using V = Pack<double>;
  const double *cutoff = hood.cutoff[group.cutoff].data(), *slope = hood.slope[group.cutoff].data();
  const V weight(2.0 * term.weight * adjoint), eta(term.eta);
  for_each_radial(hood, group, term, [&](int k, LaneMask mask, V distance, V gauss) {
    // d exp(-eta (r - s)^2) / d r^2 = -eta (r - s) / r times it
    const V derivative =
        gauss * (load(slope + k) - eta * distance * load(&hood.inverse_r[k]) * load(cutoff + k));
    double* along = &gradient.along[k];
    store(along, load(along) + keep(weight * derivative, mask));
  });
}

}  // namespace pescape::bpnn
