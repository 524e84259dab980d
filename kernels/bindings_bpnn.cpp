// Behler-Parrinello networks in Python.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>

#include "bindings.hpp"
#include "bpnn/list.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace pescape::bindings;
using namespace pescape::bpnn;

namespace {

using Functions = In<double, nb::shape<-1, 10>>;

Layer layer_from(nb::handle item) {
  const auto parts = nb::cast<nb::tuple>(item);
  require(parts.size() == 3, "a layer is (weights, bias, activation)");
  const auto weights = nb::cast<Table<double>>(parts[0]);
  const auto bias = nb::cast<Vector<double>>(parts[1]);
  const int activation = nb::cast<int>(parts[2]);
  require(activation >= 0 && activation <= int(Activation::reverse_logistic),
          "an activation is a number from 0 to 9");
  return {int(weights.shape(0)), int(weights.shape(1)), to_vector(weights), to_vector(bias),
          Activation(activation)};
}

SymmetryFunction function_from(const Functions& rows, std::size_t k) {
  const int cutoff = int(rows(k, 8));
  require(cutoff >= 0 && cutoff <= int(CutoffKind::skewed4), "a cut-off is a number from 0 to 17");
  return {Kind(int(rows(k, 0))),
          int(rows(k, 1)),
          int(rows(k, 2)),
          rows(k, 3),
          rows(k, 4),
          rows(k, 5),
          rows(k, 6),
          {CutoffKind(cutoff), rows(k, 7), rows(k, 9)}};
}

Element element_from(const nb::dict& d) {
  Element element;
  const auto functions = nb::cast<Functions>(d["functions"]);
  for (std::size_t k = 0; k < functions.shape(0); ++k)
    element.functions.push_back(function_from(functions, k));
  element.scale = to_vector(nb::cast<Vector<double>>(d["scale"]));
  element.offset = to_vector(nb::cast<Vector<double>>(d["offset"]));
  for (nb::handle layer : nb::cast<nb::list>(d["layers"]))
    element.layers.push_back(layer_from(layer));
  element.slope = nb::cast<double>(d["slope"]);
  element.intercept = nb::cast<double>(d["intercept"]);
  return element;
}

Model model_from(const nb::list& elements, const std::vector<int>& atomic_numbers) {
  Model model;
  model.atomic_numbers = atomic_numbers;
  for (nb::handle element : elements)
    model.elements.push_back(element_from(nb::cast<nb::dict>(element)));
  return model;
}

Parameters parameters_from(const std::string& which) {
  if (which == "output") return Parameters::output_layer;
  if (which == "all") return Parameters::all_weights;
  require(which == "inputs", "parameters must be 'output', 'all' or 'inputs'");
  return Parameters::inputs;
}

class BPNNKernel {
 public:
  BPNNKernel(const nb::list& elements, const std::vector<int>& atomic_numbers)
      : plan_(model_from(elements, atomic_numbers)) {}

  int species_count() const { return plan_.species_count(); }
  double cutoff() const { return plan_.cutoff(); }
  int parameter_count(const std::string& which) const {
    return plan_.row_size(parameters_from(which));
  }

  nb::tuple evaluate(const Rows3& positions, const Vector<std::int32_t>& species,
                     const Vector<std::int64_t>& offsets, const Vector<std::int32_t>& indices,
                     const Rows3& shifts, int threads) const {
    const auto atoms = listed(positions, species, offsets, indices, shifts, species_count());
    return evaluated(atoms, threads, [&](const pescape::EnergyForces& out) {
      pescape::bpnn::evaluate(plan_, atoms, threads, out);
    });
  }

  Out site_gradients(const Rows3& positions, const Vector<std::int32_t>& species,
                     const Vector<std::int64_t>& offsets, const Vector<std::int32_t>& indices,
                     const Rows3& shifts, int threads, const std::string& parameters) const {
    const auto atoms = listed(positions, species, offsets, indices, shifts, species_count());
    const Parameters which = parameters_from(parameters);
    Out rows = make_array(atoms.listed, parameter_count(parameters));
    positive(threads);
    nb::gil_scoped_release unlocked;
    pescape::bpnn::site_gradients(plan_, atoms, which, threads, rows.data());
    return rows;
  }

  Out symmetry_functions(const Rows3& positions, const Vector<std::int32_t>& species,
                         const Vector<std::int64_t>& offsets, const Vector<std::int32_t>& indices,
                         const Rows3& shifts, int threads) const {
    const auto atoms = listed(positions, species, offsets, indices, shifts, species_count());
    Out functions = make_array(atoms.listed, plan_.most_functions());
    positive(threads);
    nb::gil_scoped_release unlocked;
    pescape::bpnn::symmetry_functions(plan_, atoms, threads, functions.data(), nullptr);
    return functions;
  }

  nb::tuple symmetry_function_derivatives(const Rows3& positions,
                                          const Vector<std::int32_t>& species,
                                          const Vector<std::int64_t>& offsets,
                                          const Vector<std::int32_t>& indices, const Rows3& shifts,
                                          int threads) const {
    const auto atoms = listed(positions, species, offsets, indices, shifts, species_count());
    Out functions = make_array(atoms.listed, plan_.most_functions()),
        derivatives = make_array(indices.size(), plan_.most_functions(), 3);
    positive(threads);
    {
      nb::gil_scoped_release unlocked;
      pescape::bpnn::symmetry_functions(plan_, atoms, threads, functions.data(),
                                        derivatives.data());
    }
    return nb::make_tuple(functions, derivatives);
  }

 private:
  Plan plan_;
};

}  // namespace

void bind_bpnn(nb::module_& m) {
  nb::class_<BPNNKernel>(
      m, "BPNNKernel",
      "A Behler-Parrinello network compiled for evaluation (immutable, safe to share by\n"
      "threads). Methods take atoms and neighbour lists as those of MTPKernel do.\n\n"
      "Each element is a dict: functions (D, 10) with rows kind, neighbour 1, neighbour 2, eta\n"
      "(1/Å²), shift (Å), lambda, zeta, cut-off radius (Å), cut-off kind, cut-off parameter;\n"
      "scale and offset (D,), the network's inputs being scale * G + offset; layers, a list of\n"
      "(weights (inputs, outputs), bias (outputs,), activation); slope and intercept (eV) of the\n"
      "output.")
      .def(nb::init<const nb::list&, const std::vector<int>&>(), "elements"_a, "atomic_numbers"_a)
      .def_prop_ro("species_count", &BPNNKernel::species_count)
      .def_prop_ro("cutoff", &BPNNKernel::cutoff, "Largest cut-off radius, Å.")
      .def("parameter_count", &BPNNKernel::parameter_count, "parameters"_a = "output",
           "Length of a row of site_gradients.")
      .def("evaluate", &BPNNKernel::evaluate, "positions"_a, "species"_a, "offsets"_a, "indices"_a,
           "shifts"_a, "threads"_a = 1,
           "Site energies (n,) in eV, forces (n, 3) in eV/Å and site virials (n, 6) in eV\n"
           "(xx yy zz yz xz xy; -sum of r x dE/dr, half of each pair's to either atom).")
      .def(
          "site_gradients", &BPNNKernel::site_gradients, "positions"_a, "species"_a, "offsets"_a,
          "indices"_a, "shifts"_a, "threads"_a = 1, "parameters"_a = "output",
          "The rows (n, parameters) that extrapolation grades are made of: dE_i/dtheta by the\n"
          "weights and biases of the output nodes ('output') or of 'all' layers, or the network's\n"
          "inputs and the derivatives by all but the first layer's weights ('inputs').")
      .def("symmetry_functions", &BPNNKernel::symmetry_functions, "positions"_a, "species"_a,
           "offsets"_a, "indices"_a, "shifts"_a, "threads"_a = 1,
           "Symmetry functions (n, D), not scaled; shorter rows end with zeros.")
      .def("symmetry_function_derivatives", &BPNNKernel::symmetry_function_derivatives,
           "positions"_a, "species"_a, "offsets"_a, "indices"_a, "shifts"_a, "threads"_a = 1,
           "Symmetry functions (n, D) and their derivatives by r_ij of each listed pair,\n"
           "(m, D, 3) in 1/Å.");
}
