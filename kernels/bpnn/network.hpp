// A feed-forward network of one atom: output, gradients with respect to inputs and weights.
#pragma once

#include <cmath>
#include <vector>

#include "bpnn/model.hpp"

namespace pescape::bpnn {

struct Activated {
  double value, derivative;
};

inline Activated activate(Activation kind, double x) {
  switch (kind) {
    case Activation::tanh: {
      const double t = std::tanh(x);
      return {t, 1.0 - t * t};
    }
    case Activation::logistic: {
      const double s = 1.0 / (1.0 + std::exp(-x));
      return {s, s * (1.0 - s)};
    }
    case Activation::reverse_logistic: {
      const double s = 1.0 / (1.0 + std::exp(-x));
      return {1.0 - s, -s * (1.0 - s)};
    }
    case Activation::softplus:
      return {x > 30.0 ? x : std::log1p(std::exp(x)), 1.0 / (1.0 + std::exp(-x))};
    case Activation::relu:
      return x > 0.0 ? Activated{x, 1.0} : Activated{0.0, 0.0};
    case Activation::gaussian: {
      const double g = std::exp(-0.5 * x * x);
      return {g, -x * g};
    }
    case Activation::cosine:
      return {std::cos(x), -std::sin(x)};
    case Activation::exponential: {
      const double e = std::exp(-x);
      return {e, -e};
    }
    case Activation::harmonic:
      return {x * x, 2.0 * x};
    case Activation::linear:
      break;
  }
  return {x, 1.0};
}

/// Values of every layer for one atom, and their adjoints.
class NetworkPass {
 public:
  /// The output for `inputs`, of the first layer's width.
  double forward(const std::vector<Layer>& layers, const double* inputs) {
    values_.resize(layers.size());
    slopes_.resize(layers.size());
    for (std::size_t l = 0; l < layers.size(); ++l) {
      const Layer& layer = layers[l];
      values_[l] = layer.bias;
      slopes_[l].resize(layer.outputs);
      double* out = values_[l].data();
      for (int i = 0; i < layer.inputs; ++i) {
        const double* row = &layer.weights[std::size_t(i) * layer.outputs];
        for (int o = 0; o < layer.outputs; ++o) out[o] += inputs[i] * row[o];
      }
      for (int o = 0; o < layer.outputs; ++o) {
        const Activated a = activate(layer.activation, out[o]);
        out[o] = a.value, slopes_[l][o] = a.derivative;
      }
      inputs = out;
    }
    return values_.back()[0];
  }

  /// After `forward`: the output's gradient with respect to the inputs, (inputs).
  const std::vector<double>& backward(const std::vector<Layer>& layers) {
    start_backward(layers);
    for (std::size_t l = layers.size(); l-- > 0;) pass_down(layers[l], l);
    return adjoints_[0];
  }

  /// After `forward`: the output's gradient with respect to all weights and biases, or all but the
  /// first layer's weights.
  void weight_gradient(const std::vector<Layer>& layers, const double* inputs, double factor,
                       bool first_weights, double* out) {
    start_backward(layers);
    for (std::size_t l = layers.size(); l-- > 0;) pass_down(layers[l], l);
    for (std::size_t l = 0; l < layers.size(); ++l) {
      const double* in = l == 0 ? inputs : values_[l - 1].data();
      if (l > 0 || first_weights)
        for (int i = 0; i < layers[l].inputs; ++i)
          for (double below : below_[l]) *out++ = factor * in[i] * below;
      for (double below : below_[l]) *out++ = factor * below;
    }
  }

  /// After `forward`: the gradient with respect to the output node's weights and its bias.
  void output_gradient(const std::vector<Layer>& layers, const double* inputs, double factor,
                       double* out) const {
    const double slope = factor * slopes_.back()[0];
    const double* in = layers.size() == 1 ? inputs : values_[layers.size() - 2].data();
    for (int i = 0; i < layers.back().inputs; ++i) *out++ = slope * in[i];
    *out = slope;
  }

 private:
  void start_backward(const std::vector<Layer>& layers) {
    adjoints_.resize(layers.size() + 1);
    below_.resize(layers.size());
    adjoints_.back().assign(1, 1.0);
  }

  void pass_down(const Layer& layer, std::size_t l) {
    below_[l].resize(layer.outputs);
    for (int o = 0; o < layer.outputs; ++o) below_[l][o] = adjoints_[l + 1][o] * slopes_[l][o];
    adjoints_[l].resize(layer.inputs);
    for (int i = 0; i < layer.inputs; ++i) {
      const double* row = &layer.weights[std::size_t(i) * layer.outputs];
      double total = 0.0;
      for (int o = 0; o < layer.outputs; ++o) total += row[o] * below_[l][o];
      adjoints_[l][i] = total;
    }
  }

  std::vector<std::vector<double>> values_, slopes_;  ///< [layer][node]
  std::vector<std::vector<double>> adjoints_;         ///< of each layer's inputs
  std::vector<std::vector<double>> below_;            ///< of each node before its activation
};

}  // namespace pescape::bpnn
