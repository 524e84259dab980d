#include "bpnn_engine.hpp"

#include "bpnn/evaluate.hpp"
#include "threaded_engine.hpp"

namespace pescape {
namespace {

/// A potential of a ThreadedEngine.
class Evaluation {
 public:
  using Real = double;
  using Workspace = bpnn::Workspace;

  Evaluation(const bpnn::Model& model, bpnn::Parameters parameters)
      : plan_(model), parameters_(parameters) {}

  int parameter_count() const { return plan_.row_size(parameters_); }

  template <class Neighbors, class Sink>
  void evaluate(Workspace& work, const int* atoms, int count, const Neighbors& neighbors,
                Sink& sink) const {
    bpnn::evaluate(plan_, work, atoms, count, neighbors, sink);
  }

  template <class Neighbors, class Sink>
  void evaluate_with_parameters(Workspace& work, const int* atoms, int count,
                                const Neighbors& neighbors, Sink& sink) const {
    bpnn::evaluate_with_parameters(plan_, work, parameters_, atoms, count, neighbors, sink);
  }

 private:
  bpnn::Plan plan_;
  bpnn::Parameters parameters_;
};

}  // namespace

std::unique_ptr<Engine> make_bpnn_engine(const bpnn::Model& model, bpnn::Parameters parameters) {
  return std::make_unique<ThreadedEngine<Evaluation>>(model, parameters);
}

}  // namespace pescape
