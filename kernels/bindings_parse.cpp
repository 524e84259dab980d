// The parsers of potential files in Python.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "bpnn/parse.hpp"
#include "mtp/parse.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

template <class T>
using Array = nb::ndarray<nb::numpy, T>;

/// Hands a vector's memory over to a NumPy array of some shape.
template <class T>
Array<T> array(std::vector<T> values, std::initializer_list<std::size_t> shape) {
  auto holder = std::make_unique<std::vector<T>>(std::move(values));
  T* data = holder->data();
  nb::capsule owner(holder.get(), [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  holder.release();
  return Array<T>(data, shape, owner);
}

/// Decodes text that need not be valid UTF-8.
nb::object decode(const std::string& text) {
  return nb::steal(PyUnicode_DecodeUTF8(text.data(), Py_ssize_t(text.size()), "replace"));
}

nb::dict active_set(pescape::mtp::ActiveSetBlock set) {
  const std::size_t n = std::size_t(set.n);
  std::vector<std::int64_t> origins;
  for (const auto& origin : set.origins)
    origins.insert(origins.end(), origin.begin(), origin.end());
  nb::dict d;
  d["neighborhood_mode"] = set.neighborhood_mode();
  d["weight_scaling"] = set.weight_scaling;
  d["matrix"] = array(std::move(set.A), {n, n});
  d["inverse"] = array(std::move(set.inverse), {n, n});
  d["origins"] = array(std::move(origins), {n, 2});
  d["configurations_offset"] = set.configurations_offset;
  d["configurations_line"] = set.configurations_line;
  return d;
}

template <class Parse>
auto parsed(const nb::bytes& data, const Parse& parse) {
  try {
    return parse(std::string_view(data.c_str(), data.size()));
  } catch (const pescape::ParseError& error) {
    throw nb::value_error(error.what());
  }
}

nb::dict parse_mtp(const nb::bytes& data) {
  auto file = parsed(data, pescape::mtp::parse);
  auto& m = file.model;
  const std::size_t s = std::size_t(m.species_count);
  std::vector<std::int32_t> basic, products;
  for (const auto& k : m.basic) basic.insert(basic.end(), {k.mu, k.a, k.b, k.c});
  for (const auto& p : m.products)
    products.insert(products.end(), {p.left, p.right, std::int32_t(p.multiplicity), p.out});
  nb::dict d;
  d["name"] = decode(file.name);
  d["tag"] = decode(file.tag);
  d["species"] = file.species_names;
  d["species_count"] = m.species_count;
  d["min_dist"] = m.min_dist;
  d["cutoff"] = m.max_dist;
  d["scaling"] = m.scaling;
  d["radial_basis_size"] = m.radial_basis_size;
  d["radial_funcs_count"] = m.radial_funcs_count;
  d["moments_count"] = m.moments_count;
  d["basic"] = array(std::move(basic), {m.basic.size(), 4});
  d["products"] = array(std::move(products), {m.products.size(), 4});
  d["scalar_moments"] =
      array(std::vector<std::int32_t>(m.scalar_moments), {m.scalar_moments.size()});
  if (file.trained()) {
    d["radial_coeffs"] = array(std::move(m.radial_coeffs), {s, s, std::size_t(m.radial_funcs_count),
                                                            std::size_t(m.radial_basis_size)});
    d["species_coeffs"] = array(std::move(m.species_coeffs), {s});
    d["moment_coeffs"] = array(std::move(m.moment_coeffs), {m.scalar_moments.size()});
  }
  const auto pair_table = [&](auto&& value) {
    std::vector<double> table;
    for (int i = 0; i < m.species_count; ++i)
      for (int j = 0; j < m.species_count; ++j) table.push_back(value(i, j));
    return array(std::move(table), {s, s});
  };
  if (m.repulsion) {
    const auto& zbl = *m.repulsion;
    d["repulsion"] = nb::make_tuple(pair_table([&](int i, int j) { return zbl.inner(i, j); }),
                                    pair_table([&](int i, int j) { return zbl.outer(i, j); }),
                                    file.repulsion_of_pairs);
  }
  if (!m.nearest.empty()) d["nearest"] = array(std::move(m.nearest), {s, s});
  if (m.crowding) {
    const auto& crowding = *m.crowding;
    d["densest"] = pair_table([&](int i, int j) { return crowding.densest(i, j); });
    d["summits"] = array(std::vector<double>(crowding.summits()), {s});
  }
  if (file.active_set) d["active_set"] = active_set(std::move(*file.active_set));
  return d;
}

nb::dict scaling(pescape::bpnn::Scaling s) {
  nb::dict d;
  d["kind"] = name_of(pescape::bpnn::parsing::scalings, s.kind);
  d["low"] = s.low;
  d["high"] = s.high;
  d["tolerance"] = s.tolerance;
  const auto put = [&](const char* name, std::vector<double>& column) {
    const std::size_t size = column.size();
    if (size > 0) d[name] = array(std::move(column), {size});
  };
  put("minimum", s.minimum);
  put("maximum", s.maximum);
  put("mean", s.mean);
  put("sigma", s.sigma);
  return d;
}

nb::dict element(pescape::bpnn::Element e, pescape::bpnn::ElementNotes notes, bool trained) {
  std::vector<double> functions;
  for (const auto& f : e.functions)
    functions.insert(
        functions.end(),
        {double(int(f.kind)), double(f.neighbor1), double(f.neighbor2), f.eta, f.shift, f.lambda,
         f.zeta, f.cutoff.radius, double(int(f.cutoff.kind)), f.cutoff.parameter});
  nb::list layers;
  for (auto& layer : e.layers) {
    const std::size_t inputs = std::size_t(layer.inputs), outputs = std::size_t(layer.outputs);
    nb::dict d;
    d["inputs"] = inputs;
    d["outputs"] = outputs;
    d["activation"] = name_of(pescape::bpnn::parsing::activations, layer.activation);
    if (trained) {
      d["weights"] = array(std::move(layer.weights), {inputs, outputs});
      d["bias"] = array(std::move(layer.bias), {outputs});
    }
    layers.append(d);
  }
  nb::dict d;
  d["functions"] = array(std::move(functions), {e.functions.size(), 10});
  d["scaling"] = scaling(std::move(notes.scaling));
  d["layers"] = layers;
  d["slope"] = e.slope;
  d["intercept"] = notes.intercept;
  d["atom_energy"] = notes.atom_energy;
  return d;
}

nb::dict active_set(pescape::bpnn::ActiveSetBlock set) {
  const std::size_t n = std::size_t(set.size);
  nb::dict d;
  d["parameters"] = name_of(pescape::bpnn::parsing::row_kinds, set.parameters);
  d["mode"] = set.neighborhood_mode ? "neighborhood" : "configuration";
  d["weight_scaling"] = set.weight_scaling;
  d["matrix"] = array(std::move(set.matrix), {n, n});
  d["inverse"] = array(std::move(set.inverse), {n, n});
  if (!set.leverage.empty()) d["leverage"] = array(std::move(set.leverage), {n, n});
  d["origins"] = array(std::move(set.origins), {n, 2});
  d["configuration_count"] = set.configuration_count;
  d["configurations"] = nb::make_tuple(set.configurations_begin, set.configurations_end);
  d["configurations_line"] = set.configurations_line;
  return d;
}

nb::dict parse_bpnn(const nb::bytes& data) {
  auto file = parsed(data, pescape::bpnn::parse);
  nb::list elements;
  for (std::size_t n = 0; n < file.notes.size(); ++n)
    elements.append(
        element(std::move(file.model.elements[n]), std::move(file.notes[n]), file.trained));
  nb::dict d;
  d["name"] = decode(file.name);
  d["species"] = file.species_names;
  d["units"] = nb::make_tuple(file.length_unit, file.energy_unit);
  if (!file.normalization.empty()) d["normalization"] = file.normalization;
  d["elements"] = elements;
  if (file.active_set) d["active_set"] = active_set(std::move(*file.active_set));
  return d;
}

}  // namespace

void bind_parse(nb::module_& m) {
  m.def("parse_mtp", &parse_mtp, "data"_a,
        "Read the bytes of an .mtp or .almtp file into a dictionary of numbers and arrays.\n\n"
        "Raises ValueError('line N: ...') when anything about the file is wrong.");
  m.def(
      "parse_bpnn", &parse_bpnn, "data"_a,
      "Read the bytes of a .bpnn file into a dictionary of numbers and arrays; symmetry functions\n"
      "are rows as BPNNKernel takes them.\n\n"
      "Raises ValueError('line N: ...') when anything about the file is wrong.");
}
