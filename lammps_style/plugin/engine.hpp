// Potentials over LAMMPS' arrays: what a pair style asks of them. No LAMMPS class is needed.
#pragma once

#include "grade.hpp"

namespace pescape {

/// Atoms and their full neighbour list, as LAMMPS stores them.
struct AtomView {
  const double* const* x;      ///< Å, local and ghost atoms
  const int* type;             ///< 1 ... ntypes
  const int* species_of_type;  ///< species of the potential; -1: not ours
  int nall;                    ///< local and ghost atoms
  int inum;                    ///< atoms to evaluate
  const int* ilist;
  const int* numneigh;
  const int* const* firstneigh;
};

/// Where results are added. Arrays of atoms are row-major; a null pointer is not wanted.
struct Tally {
  double* forces;            ///< nall x 3, eV/Å
  double* site_energies;     ///< eV, local atoms
  double* virials;           ///< nall x 6 (xx yy zz xy xz yz), eV, half to each atom of a pair
  double* centroid_virials;  ///< nall x 9 (xx yy zz xy xz yz yx zx zy), eV, to the neighbour
  bool wants_virial;
  double energy = 0.0;       ///< eV
  double virial[6] = {0.0};  ///< eV, xx yy zz xy xz yz
};

/// What a graded evaluation yields: `grades` of atoms, or the sum of their rows.
struct Grading {
  const GradeMatrix* matrix = nullptr;
  double* grades = nullptr;        ///< nlocal; neighbourhood mode
  double* gradient_sum = nullptr;  ///< one per parameter; configuration mode
  double* range_excess = nullptr;  ///< nlocal; where the potential knows ranges
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual void evaluate(const AtomView& atoms, int threads, Tally& tally) = 0;
  /// The same in one pass with the grades.
  virtual void evaluate_graded(const AtomView& atoms, int threads, Tally& tally,
                               const Grading& grading) = 0;
  virtual double memory_usage() const = 0;  ///< bytes of scratch
};

}  // namespace pescape
