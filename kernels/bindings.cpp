// The Python face of the kernels; nothing below this file knows Python.
#include "bindings.hpp"

#include <nanobind/stl/vector.h>

#include <cmath>
#include <string>
#include <variant>

#include "grade.hpp"
#include "mtp/list.hpp"
#include "zbl.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace pescape::bindings;

namespace {

nb::tuple evaluate_zbl(const pescape::ZBL& repulsion, const Rows3& positions,
                       const Vector<std::int32_t>& species, const Vector<std::int64_t>& offsets,
                       const Vector<std::int32_t>& indices, const Rows3& shifts, int threads) {
  const auto atoms =
      listed(positions, species, offsets, indices, shifts, repulsion.species_count());
  return evaluated(atoms, threads, [&](const pescape::EnergyForces& out) {
    pescape::energies_and_forces(atoms, threads, out,
                                 [&](const int* list, int count, pescape::ForceSink& sink) {
                                   for (int k = 0; k < count; ++k) {
                                     const int i = list[k], zi = atoms.species(i);
                                     if (zi < 0) continue;
                                     atoms.for_each(i, [&](int j, double x, double y, double z) {
                                       if (atoms.species(j) >= 0)
                                         repulsion.repel<double>(
                                             zi, atoms.species(j), 1, &x, &y, &z,
                                             [i](int) { return i; }, [j](int) { return j; }, sink);
                                     });
                                   }
                                 });
  });
}

/// A moment tensor potential ready to be evaluated, in double or single precision.
class MTPKernel {
  /// Calls f with the plan, whatever its precision.
  template <class F>
  auto visit(F&& f) const {
    if (const auto* plan = std::get_if<pescape::mtp::Plan<double>>(&plan_)) return f(*plan);
    return f(std::get<pescape::mtp::Plan<float>>(plan_));
  }

 public:
  MTPKernel(int species_count, double min_dist, double max_dist, double scaling,
            const In<double, nb::shape<-1, -1, -1, -1>>& radial_coeffs, const Rows4& basic,
            const Rows4& products, const Vector<std::int32_t>& scalar_moments, int moments_count,
            const Vector<double>& species_coeffs, const Vector<double>& moment_coeffs,
            const pescape::ZBL* repulsion, bool adds_repulsion, const std::vector<double>& nearest,
            const std::vector<double>& densest, const std::vector<double>& summits,
            bool single_precision) {
    pescape::mtp::Model m;
    m.species_count = species_count;
    m.min_dist = min_dist;
    m.max_dist = max_dist;
    m.scaling = scaling;
    require(int(radial_coeffs.shape(0)) == species_count &&
                int(radial_coeffs.shape(1)) == species_count,
            "radial_coeffs must be of shape (species, species, functions, basis size)");
    m.radial_funcs_count = int(radial_coeffs.shape(2));
    m.radial_basis_size = int(radial_coeffs.shape(3));
    m.radial_coeffs = to_vector(radial_coeffs);
    m.moments_count = moments_count;
    for (std::size_t k = 0; k < basic.shape(0); ++k)
      m.basic.push_back({basic(k, 0), basic(k, 1), basic(k, 2), basic(k, 3)});
    for (std::size_t k = 0; k < products.shape(0); ++k)
      m.products.push_back(
          {products(k, 0), products(k, 1), double(products(k, 2)), products(k, 3)});
    m.scalar_moments.assign(scalar_moments.data(), scalar_moments.data() + scalar_moments.size());
    m.species_coeffs = to_vector(species_coeffs);
    m.moment_coeffs = to_vector(moment_coeffs);
    if (repulsion) m.repulsion = *repulsion;
    m.adds_repulsion = adds_repulsion;
    m.nearest = nearest;
    if (!densest.empty()) m.crowding.emplace(species_count, max_dist, densest, summits);
    if (single_precision)
      plan_.emplace<pescape::mtp::Plan<float>>(m);
    else
      plan_.emplace<pescape::mtp::Plan<double>>(m);
  }

  int parameter_count() const {
    return visit([](const auto& plan) { return plan.parameter_count(); });
  }
  int species_count() const {
    return visit([](const auto& plan) { return plan.species_count(); });
  }

  nb::dict cost() const {
    return visit([](const auto& plan) {
      nb::dict d;
      d["basic_moments"] = plan.basic_count();
      d["intermediate_moments"] = plan.moments_count() - plan.basic_count();
      d["intermediate_terms"] = plan.intermediate_terms().size();
      d["quadratic_terms"] = plan.quadratic_terms().size();
      d["scalar_terms"] = plan.scalar_terms().size();
      return d;
    });
  }

  nb::tuple evaluate(const Rows3& positions, const Vector<std::int32_t>& species,
                     const Vector<std::int64_t>& offsets, const Vector<std::int32_t>& indices,
                     const Rows3& shifts, int threads) const {
    const auto atoms = listed(positions, species, offsets, indices, shifts, species_count());
    return evaluated(atoms, threads, [&](const pescape::EnergyForces& out) {
      visit([&](const auto& plan) { pescape::mtp::evaluate(plan, atoms, threads, out); });
    });
  }

  Out site_gradients(const Rows3& positions, const Vector<std::int32_t>& species,
                     const Vector<std::int64_t>& offsets, const Vector<std::int32_t>& indices,
                     const Rows3& shifts, int threads) const {
    const auto atoms = listed(positions, species, offsets, indices, shifts, species_count());
    Out rows = make_array(atoms.listed, parameter_count());
    positive(threads);
    nb::gil_scoped_release unlocked;
    visit(
        [&](const auto& plan) { pescape::mtp::site_gradients(plan, atoms, threads, rows.data()); });
    return rows;
  }

  Out weighted_gradient(const Rows3& positions, const Vector<std::int32_t>& species,
                        const Vector<std::int64_t>& offsets, const Vector<std::int32_t>& indices,
                        const Rows3& shifts, const Vector<double>& site_weights,
                        const Rows3& displacements, const In<double, nb::shape<-1, 3, 3>>& strains,
                        int threads) const {
    const auto atoms = listed(positions, species, offsets, indices, shifts, species_count());
    const std::size_t n = atoms.count;
    require(site_weights.size() == n && displacements.shape(0) == n && strains.shape(0) == n,
            "site_weights, displacements and strains must hold one entry per atom");
    Out gradient = make_array(parameter_count());
    positive(threads);
    nb::gil_scoped_release unlocked;
    visit([&](const auto& plan) {
      pescape::mtp::weighted_gradient(plan, atoms, site_weights.data(), displacements.data(),
                                      strains.data(), threads, gradient.data());
    });
    return gradient;
  }

  nb::tuple linear_basis(const Rows3& positions, const Vector<std::int32_t>& species,
                         const Vector<std::int64_t>& offsets, const Vector<std::int32_t>& indices,
                         const Rows3& shifts, int threads) const {
    const auto atoms = listed(positions, species, offsets, indices, shifts, species_count());
    const std::size_t columns =
        visit([](const auto& plan) { return plan.species_count() + plan.scalar_moment().size(); });
    Out energies = make_array(columns), forces = make_array(3 * atoms.count, columns),
        virials = make_array(6, columns);
    positive(threads);
    {
      nb::gil_scoped_release unlocked;
      visit([&](const auto& plan) {
        pescape::mtp::linear_basis(plan, atoms, threads,
                                   {energies.data(), forces.data(), virials.data()});
      });
    }
    return nb::make_tuple(energies, forces, virials);
  }

 private:
  std::variant<std::monostate, pescape::mtp::Plan<double>, pescape::mtp::Plan<float>> plan_;
};

Out grades(const Table<double>& rows, const Table<double>& matrix, int threads, bool leverage) {
  const std::size_t n = matrix.shape(0), count = rows.shape(0);
  require(matrix.shape(1) == n, "the matrix must be square");
  require(rows.shape(1) == n, "rows must be as long as the matrix is wide");
  Out out = make_array(count);
  positive(threads);
  nb::gil_scoped_release unlocked;
  const auto norm = leverage ? pescape::GradeNorm::leverage : pescape::GradeNorm::largest;
  const pescape::GradeMatrix packed{int(n), matrix.data(), norm};
  pescape::parallel_over_atoms(int(count), threads, [&](int, const int* list, int share) {
    if (share > 0) packed.grades(rows.data() + list[0] * n, share, out.data() + list[0]);
  });
  return out;
}

/// The pair that is nearest, relative to nearest(species i, species j), if it is nearer than that.
nb::object pair_nearer_than(const Rows3& positions, const Vector<std::int32_t>& species,
                            const Vector<std::int64_t>& offsets,
                            const Vector<std::int32_t>& indices, const Rows3& shifts,
                            const Table<double>& nearest) {
  const int count = int(nearest.shape(0));
  const auto atoms = listed(positions, species, offsets, indices, shifts, count);
  double least = 1.0;
  int first = -1, second = -1;
  for (int i = 0; i < int(atoms.listed); ++i)
    atoms.for_each(i, [&](int j, double x, double y, double z) {
      if (atoms.species(i) < 0 || atoms.species(j) < 0) return;
      const double limit = nearest(atoms.species(i), atoms.species(j));
      const double ratio = (x * x + y * y + z * z) / (limit * limit);
      if (ratio < least) least = ratio, first = i, second = j;
    });
  if (first < 0) return nb::none();
  const double limit = nearest(atoms.species(first), atoms.species(second));
  return nb::make_tuple(first, second, std::sqrt(least) * limit, limit);
}

}  // namespace

void bind_parse(nb::module_& m);  // bindings_parse.cpp
void bind_bpnn(nb::module_& m);   // bindings_bpnn.cpp

NB_MODULE(_kernels, m) {
  m.doc() = "Compiled kernels of pescape.";

  nb::class_<pescape::ZBL>(
      m, "ZBLKernel", "The ZBL repulsion between species, switched off from inner to outer (Å).")
      .def(nb::init<const std::vector<int>&, const std::vector<double>&,
                    const std::vector<double>&>(),
           nb::kw_only(), "atomic_numbers"_a, "inner"_a, "outer"_a)
      .def("evaluate", &evaluate_zbl, "positions"_a, "species"_a, "offsets"_a, "indices"_a,
           "shifts"_a, "threads"_a = 1,
           "Site energies (n,) in eV, forces (n, 3) in eV/Å and site virials (n, 6) in eV, as\n"
           "MTPKernel.evaluate gives them.");

  nb::class_<MTPKernel>(
      m, "MTPKernel",
      "A moment tensor potential compiled for evaluation (immutable, safe to share by threads).\n\n"
      "All methods take positions (n, 3) in Å, species (n,) int32 and full neighbour lists as\n"
      "offsets (n+1,) int64, indices (m,) int32 and Cartesian shifts (m, 3) in Å, with\n"
      "r_ij = positions[j] + shift - positions[i]; pairs may reach beyond the cut-off. Shorter\n"
      "offsets (c+1,) are for atoms of which the first c have lists; the others, ghosts, are only\n"
      "neighbours, and what is given per site has c entries.")
      .def(nb::init<int, double, double, double, const In<double, nb::shape<-1, -1, -1, -1>>&,
                    const Rows4&, const Rows4&, const Vector<std::int32_t>&, int,
                    const Vector<double>&, const Vector<double>&, const pescape::ZBL*, bool,
                    const std::vector<double>&, const std::vector<double>&,
                    const std::vector<double>&, bool>(),
           nb::kw_only(), "species_count"_a, "min_dist"_a, "max_dist"_a, "scaling"_a,
           "radial_coeffs"_a, "basic"_a, "products"_a, "scalar_moments"_a, "moments_count"_a,
           "species_coeffs"_a, "moment_coeffs"_a, "repulsion"_a = nb::none(),
           "adds_repulsion"_a = true, "nearest"_a = std::vector<double>(),
           "densest"_a = std::vector<double>(), "summits"_a = std::vector<double>(),
           "single_precision"_a = false)
      .def_prop_ro("parameter_count", &MTPKernel::parameter_count,
                   "Number of fitted parameters: radial, species, moments.")
      .def_prop_ro("species_count", &MTPKernel::species_count)
      .def("cost", &MTPKernel::cost, "Sizes of the compiled contraction, by part.")
      .def("evaluate", &MTPKernel::evaluate, "positions"_a, "species"_a, "offsets"_a, "indices"_a,
           "shifts"_a, "threads"_a = 1,
           "Site energies (n,) in eV, forces (n, 3) in eV/Å and site virials (n, 6) in eV\n"
           "(xx yy zz yz xz xy; -sum of r x dE/dr, half of each pair's to either atom).")
      .def("site_gradients", &MTPKernel::site_gradients, "positions"_a, "species"_a, "offsets"_a,
           "indices"_a, "shifts"_a, "threads"_a = 1,
           "dE_i/dtheta (n, parameters): the rows that extrapolation grades are made of. Radial\n"
           "functions go on below `nearest` here even where a repulsion lets them saturate.")
      .def(
          "weighted_gradient", &MTPKernel::weighted_gradient, "positions"_a, "species"_a,
          "offsets"_a, "indices"_a, "shifts"_a, "site_weights"_a, "displacements"_a, "strains"_a,
          "threads"_a = 1,
          "sum_i [w_i dE_i/dtheta + d/dtheta of the derivative of E_i along the pair changes\n"
          "displacement_j - displacement_i + strain_i r_ij], shape (parameters,): the gradient of\n"
          "any loss of energies, forces and virials in one pass.")
      .def("linear_basis", &MTPKernel::linear_basis, "positions"_a, "species"_a, "offsets"_a,
           "indices"_a, "shifts"_a, "threads"_a = 1,
           "Energies (c,), forces (3 n, c) and virials (6, c) of one configuration per unit of "
           "each\n"
           "of the c species and moment coefficients, in which all three are linear.");

  m.def("grades", &grades, "rows"_a, "matrix"_a, "threads"_a = 1, "leverage"_a = false,
        "max_q |rows @ matrix| per row, shape (m,), or the sum of its squares.");

  m.def("pair_nearer_than", &pair_nearer_than, "positions"_a, "species"_a, "offsets"_a, "indices"_a,
        "shifts"_a, "nearest"_a,
        "Atoms, distance and limit (Å) of the pair that is nearest in units of nearest (S, S), in "
        "Å,\n"
        "if it is nearer than that; else None.");

  bind_parse(m);
  bind_bpnn(m);
}
