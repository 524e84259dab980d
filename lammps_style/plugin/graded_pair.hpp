// What fix extrapolation needs from a pair style. Any potential with an active set can offer it.
#pragma once

#include <string>
#include <vector>

namespace pescape {

/// Where a potential came from.
struct PotentialIdentity {
  std::string file;    ///< as named in pair_coeff
  std::string sha256;  ///< of its bytes, hexadecimal
};

/// A pair style that can grade how far a configuration lies outside its training set.
class GradedPair {
 public:
  /// As in the input: "mtp" in pair_style mtp.
  virtual const char* style_name() const = 0;
  virtual const PotentialIdentity& potential() const = 0;
  /// Element of each atom type (index 1 ... ntypes); "" for types handled elsewhere.
  virtual const std::vector<std::string>& elements() const = 0;

  virtual bool has_active_set() const = 0;
  /// One grade for the whole configuration instead of one for each atom.
  virtual bool grades_configuration() const = 0;

  /// The next compute() grades what it evaluates.
  virtual void request_grades() = 0;
  /// Grades of this rank's atoms after such a compute(); 0 for atoms of other pair styles and, in
  /// configuration mode, the same for all. A grade that is not a number is given as infinity.
  virtual const double* atom_grades() const = 0;
  /// The configuration's grade, the same on all ranks; configuration mode only.
  virtual double configuration_grade() const = 0;
  /// How far this rank's atoms are beyond the ranges that symmetry functions had in the training
  /// data, in widths of a range, after such a compute(); null if these are not known.
  virtual double* range_excess() = 0;

 protected:
  ~GradedPair() = default;  // owned as a Pair
};

/// The error of every grade asked of a potential that cannot give one.
inline std::string no_active_set_message(const GradedPair& pair) {
  return "potential file " + pair.potential().file +
         " has no active set, so it gives no extrapolation grades. Make one from the training set: "
         "pescape fit " +
         pair.style_name() + " TRAIN.xyz -o POTENTIAL writes it into the file";
}

}  // namespace pescape
