// What the pair styles of all potentials share: everything but their settings and files.
//
// pair_coeff * * FILE ELEMENT_OF_TYPE_1 ...
#pragma once

#include <string>
#include <vector>

#include "graded_pair.hpp"
#include "pair.h"
#include "potential.hpp"

namespace pescape {

class PairPotential : public LAMMPS_NS::Pair, public GradedPair {
 public:
  explicit PairPotential(LAMMPS_NS::LAMMPS* lmp);
  ~PairPotential() override;

  void compute(int eflag, int vflag) override;
  void coeff(int narg, char** arg) override;
  void init_style() override;
  double init_one(int i, int j) override;

  void write_restart(FILE* file) override;
  void read_restart(FILE* file) override;

  /// "cutoff" (Å) and "extrapolation_flag", which fix pair sets on the steps it wants grades of.
  void* extract(const char* name, int& dim) override;
  /// "extrapolation": the atoms' grades.
  void* extract_peratom(const char* name, int& columns) override;
  double memory_usage() override;

  const PotentialIdentity& potential() const override { return identity_; }
  const std::vector<std::string>& elements() const override { return elements_; }
  bool has_active_set() const override { return potential_.active_set.has_value(); }
  bool grades_configuration() const override {
    return has_active_set() && !potential_.active_set->neighborhood_mode;
  }
  void request_grades() override { grades_requested_ = true; }
  const double* atom_grades() const override { return grades_.data(); }
  double configuration_grade() const override { return configuration_grade_; }
  double* range_excess() override { return range_excess_.empty() ? nullptr : range_excess_.data(); }

 protected:
  /// Makes a potential of a file's content; throws if anything is wrong with it.
  virtual Potential parse(const std::string& name, const std::string& bytes) const = 0;
  /// Why a folder of this name is no potential.
  virtual std::string about_folder(const std::string& name) const = 0;

  [[noreturn]] void fail(const std::string& what) const;

 private:
  void allocate();
  void use_potential(const std::string& file, const std::vector<std::string>& elements);
  AtomView view() const;
  void sort_neighbors();
  void warn_if_nearer();
  void evaluate(bool graded);
  void grade_configuration(int atoms);

  Potential potential_;
  PotentialIdentity identity_;
  std::vector<std::string> elements_;  ///< [type]
  std::vector<int> species_of_type_;   ///< [type]

  int extrapolation_flag_ = 0;
  bool grades_requested_ = false;
  bool warned_ = false;                                       ///< of a distance below the data's
  bool graded_ = false;                                       ///< at the last evaluation
  std::vector<double> grades_ = std::vector<double>(1, 0.0);  ///< [local atom], never empty
  std::vector<double> range_excess_;                          ///< [local atom], or empty
  std::vector<double> gradient_sum_;
  double configuration_grade_ = 0.0;
};

}  // namespace pescape
