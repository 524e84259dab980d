// What the files of bindings share: arrays in and out, and their checks.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "atoms.hpp"

namespace pescape::bindings {

namespace nb = nanobind;

template <class T, class Shape>
using In = nb::ndarray<const T, Shape, nb::c_contig, nb::device::cpu>;
template <class T>
using Vector = In<T, nb::shape<-1>>;
template <class T>
using Table = In<T, nb::ndim<2>>;
using Rows3 = In<double, nb::shape<-1, 3>>;
using Rows4 = In<std::int32_t, nb::shape<-1, 4>>;
using Out = nb::ndarray<nb::numpy, double>;

/// A new array that owns its (uninitialised) memory.
template <class... Size>
Out make_array(Size... size) {
  const std::size_t shape[] = {std::size_t(size)...};
  std::size_t total = 1;
  for (std::size_t s : shape) total *= s;
  auto data = std::make_unique<double[]>(total == 0 ? 1 : total);
  nb::capsule owner(data.get(), [](void* p) noexcept { delete[] static_cast<double*>(p); });
  return Out(data.release(), sizeof...(Size), shape, owner);
}

template <class Array>
auto to_vector(const Array& a) {
  return std::vector<std::remove_const_t<typename Array::Scalar>>(a.data(), a.data() + a.size());
}

inline void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

inline int positive(int threads) {
  require(threads >= 1, "threads must be at least 1");
  return threads;
}

inline ListedAtoms listed(const Rows3& positions, const Vector<std::int32_t>& species,
                          const Vector<std::int64_t>& offsets, const Vector<std::int32_t>& indices,
                          const Rows3& shifts, int species_count) {
  const std::size_t n = positions.shape(0);
  require(species.size() == n, "species must hold one number per atom");
  require(offsets.size() >= 1 && offsets.size() <= n + 1,
          "offsets must hold one number more than there are atoms with neighbour lists");
  const std::size_t with_list = offsets.size() - 1;
  require(shifts.shape(0) == indices.size(), "shifts must hold one row per neighbour");
  require(offsets(0) == 0 && offsets(with_list) == std::int64_t(indices.size()),
          "offsets must run from 0 to the number of neighbours");
  for (std::size_t i = 0; i < with_list; ++i)
    require(offsets(i) <= offsets(i + 1), "offsets must not fall");
  for (std::size_t i = 0; i < n; ++i) {
    require(species(i) < species_count, "an atom's species is not one of the potential's");
  }
  for (std::size_t k = 0; k < indices.size(); ++k)
    require(indices(k) >= 0 && std::size_t(indices(k)) < n, "a neighbour's index is no atom's");
  return {int(n),         int(with_list), positions.data(), species.data(),
          offsets.data(), indices.data(), shifts.data()};
}

/// What `evaluate` methods return: site energies, forces and site virials, computed without the
/// interpreter's lock.
template <class Evaluate>
nb::tuple evaluated(const ListedAtoms& atoms, int threads, const Evaluate& evaluate) {
  Out energies = make_array(atoms.listed), forces = make_array(atoms.count, 3),
      virials = make_array(atoms.count, 6);
  positive(threads);
  {
    nb::gil_scoped_release unlocked;
    evaluate(EnergyForces{energies.data(), forces.data(), virials.data()});
  }
  return nb::make_tuple(energies, forces, virials);
}

}  // namespace pescape::bindings
