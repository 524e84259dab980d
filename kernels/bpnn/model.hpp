// A Behler-Parrinello network as plain data, in eV and Å.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace pescape::bpnn {

/// Symmetry functions by their number in n2p2. Sums over pairs run over unordered pairs.
enum class Kind {
  radial = 2,            ///< sum_j exp(-eta (r - shift)^2) fc
  narrow = 3,            ///< 2^(1-zeta) sum_jk (1 + lambda cos)^zeta exp(-eta (...)) fc fc fc
  wide = 9,              ///< the same without the distance of j and k
  weighted_radial = 12,  ///< radial over all neighbours, times Z_j
  weighted_narrow = 13,  ///< narrow over all pairs, times Z_j Z_k
  compact_radial = 20,   ///< sum_j C(r), C a window of distances
  compact_narrow = 21,   ///< sum_jk C(r_ij) C(r_ik) C(r_jk) A(theta), A a window of angles
  compact_wide = 22,     ///< the same without the distance of j and k
  weighted_compact_radial = 23,
  weighted_compact_narrow = 24,
  weighted_compact_wide = 25,
};

/// Whether a kind is made of windows instead of exponentials and powers.
inline bool is_compact(Kind kind) { return int(kind) >= int(Kind::compact_radial); }
/// Whether a kind weighs all neighbours by their atomic numbers.
inline bool is_weighted(Kind kind) {
  return kind == Kind::weighted_radial || kind == Kind::weighted_narrow || int(kind) >= 23;
}
inline bool is_radial(Kind kind) {
  return kind == Kind::radial || kind == Kind::weighted_radial || kind == Kind::compact_radial ||
         kind == Kind::weighted_compact_radial;
}
/// Whether an angular kind contains the distance between the neighbours.
inline bool is_narrow(Kind kind) {
  return kind == Kind::narrow || kind == Kind::weighted_narrow || kind == Kind::compact_narrow ||
         kind == Kind::weighted_compact_narrow;
}

enum class CutoffKind {
  hard,
  cosine,
  tanh3,             ///< tanh^3(1 - r / radius)
  normalized_tanh3,  ///< the same, one at r = 0
  exponential,
  poly1,
  poly2,
  poly3,
  poly4,
  power,    ///< 1 + g x^(g+1) - (g+1) x^g, Amp's polynomial
  window1,  ///< poly1 of |r - middle| / half width, between an inner and the outer radius
  window2,
  window3,
  window4,
  skewed1,  ///< the same of x (2 - x)
  skewed2,
  skewed3,
  skewed4,
};

inline bool is_window(CutoffKind kind) { return kind >= CutoffKind::window1; }
/// Which polynomial a window is made of, 1 to 4.
inline int window_order(CutoffKind kind) { return (int(kind) - int(CutoffKind::window1)) % 4 + 1; }

struct CutoffFunction {
  CutoffKind kind;
  double radius;     ///< Å
  double parameter;  ///< inner radius as a fraction of the radius; g of `power`; the inner radius
                     ///< of windows, Å

  bool operator==(const CutoffFunction& o) const {
    return kind == o.kind && radius == o.radius && parameter == o.parameter;
  }
};

struct SymmetryFunction {
  Kind kind;
  int neighbor1, neighbor2;  ///< species; -1 where the kind has none
  double eta;                ///< 1/Å^2
  double shift;              ///< Å
  double lambda, zeta;       ///< of compact kinds: the window of angles, degrees
  CutoffFunction cutoff;
};

enum class Activation {
  linear,
  tanh,
  logistic,
  softplus,
  relu,
  gaussian,
  cosine,
  exponential,
  harmonic,
  reverse_logistic,
};

struct Layer {
  int inputs, outputs;
  std::vector<double> weights;  ///< [inputs][outputs]
  std::vector<double> bias;     ///< [outputs]
  Activation activation;
};

/// What an atom's row is made of, from which extrapolation grades come.
enum class Parameters {
  output_layer,  ///< its energy's derivatives by the weights and the bias of the output node
  all_weights,   ///< by all weights and biases
  inputs,        ///< its network's inputs, and the derivatives by all but the first layer's weights
};

/// The values of the symmetry functions in the training data; empty where they are not known.
struct Ranges {
  std::vector<double> low, high;
  std::vector<double> width;  ///< in which an excess is measured
};

/// What describes and rates the surroundings of one species' atoms.
struct Element {
  std::vector<SymmetryFunction> functions;
  std::vector<double> scale, offset;  ///< network input = scale * function + offset
  std::vector<Layer> layers;          ///< the last has one output
  double slope, intercept;            ///< energy = slope * output + intercept, eV
  Ranges ranges;
};

struct Model {
  std::vector<Element> elements;
  std::vector<int> atomic_numbers;  ///< for weighted functions

  /// Å
  double cutoff() const {
    double largest = 0.0;
    for (const Element& element : elements)
      for (const SymmetryFunction& f : element.functions)
        largest = std::max(largest, f.cutoff.radius);
    return largest;
  }
};

}  // namespace pescape::bpnn
