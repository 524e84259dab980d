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
};

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
  power,  ///< 1 + g x^(g+1) - (g+1) x^g, Amp's polynomial
};

struct CutoffFunction {
  CutoffKind kind;
  double radius;     ///< Å
  double parameter;  ///< inner radius as a fraction of the radius; g of `power`

  bool operator==(const CutoffFunction& o) const {
    return kind == o.kind && radius == o.radius && parameter == o.parameter;
  }
};

struct SymmetryFunction {
  Kind kind;
  int neighbor1, neighbor2;  ///< species; -1 where the kind has none
  double eta;                ///< 1/Å^2
  double shift;              ///< Å
  double lambda, zeta;
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

/// What describes and rates the surroundings of one species' atoms.
struct Element {
  std::vector<SymmetryFunction> functions;
  std::vector<double> scale, offset;  ///< network input = scale * function + offset
  std::vector<Layer> layers;          ///< the last has one output
  double slope, intercept;            ///< energy = slope * output + intercept, eV
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
