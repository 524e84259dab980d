#include "mtp_engine.hpp"

#include <cstddef>
#include <vector>

#include "mtp/evaluate.hpp"
#include "threaded_engine.hpp"

namespace pescape {
namespace {

/// A potential of a ThreadedEngine, computed in T.
template <class T>
class Evaluation {
 public:
  using Real = T;
  using Workspace = mtp::Workspace<T>;

  explicit Evaluation(const mtp::Model& model) : plan_(model) {}

  int parameter_count() const { return plan_.parameter_count(); }

  template <class Neighbors, class Sink>
  void evaluate(Workspace& work, const int* atoms, int count, const Neighbors& neighbors,
                Sink& sink) const {
    mtp::evaluate(plan_, work, atoms, count, neighbors, sink);
  }

  template <class Neighbors, class Sink>
  void evaluate_with_parameters(Workspace& work, const int* atoms, int count,
                                const Neighbors& neighbors, Sink& sink) const {
    mtp::evaluate_with_parameters(plan_, work, atoms, count, neighbors, sink);
  }

 private:
  mtp::Plan<T> plan_;
};

/// Energies and forces in single precision, grades in double: inverses of active sets are too
/// ill-conditioned for rows of seven digits. Grading changes nothing about the forces.
class SingleEngine : public Engine {
 public:
  explicit SingleEngine(const mtp::Model& model) : single_(model), exact_(model) {}

  void evaluate(const AtomView& atoms, int threads, Tally& tally) override {
    single_.evaluate(atoms, threads, tally);
  }

  void evaluate_graded(const AtomView& atoms, int threads, Tally& tally,
                       const Grading& grading) override {
    single_.evaluate(atoms, threads, tally);
    unused_forces_.assign(3 * std::size_t(atoms.nall), 0.0);
    Tally unused{};
    unused.forces = unused_forces_.data();
    exact_.evaluate_graded(atoms, threads, unused, grading);
  }

  double memory_usage() const override {
    return single_.memory_usage() + exact_.memory_usage() +
           double(unused_forces_.size()) * sizeof(double);
  }

 private:
  ThreadedEngine<Evaluation<float>> single_;
  ThreadedEngine<Evaluation<double>> exact_;
  std::vector<double> unused_forces_;
};

}  // namespace

std::unique_ptr<Engine> make_mtp_engine(const mtp::Model& model, bool single_precision) {
  if (single_precision) return std::make_unique<SingleEngine>(model);
  return std::make_unique<ThreadedEngine<Evaluation<double>>>(model);
}

}  // namespace pescape
