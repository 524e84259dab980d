// pair_style mtp [precision double|single]
// pair_coeff * * FILE ELEMENT_OF_TYPE_1 ...
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "grade.hpp"
#include "graded_pair.hpp"
#include "mtp_engine.hpp"
#include "pair.h"

namespace pescape {

class PairMTP : public LAMMPS_NS::Pair, public GradedPair {
 public:
  explicit PairMTP(LAMMPS_NS::LAMMPS* lmp);
  ~PairMTP() override;

  void compute(int eflag, int vflag) override;
  void settings(int narg, char** arg) override;
  void coeff(int narg, char** arg) override;
  void init_style() override;
  double init_one(int i, int j) override;

  void write_restart(FILE* file) override;
  void read_restart(FILE* file) override;
  void write_restart_settings(FILE* file) override;
  void read_restart_settings(FILE* file) override;

  /// "cutoff" (Å) and "extrapolation_flag", which fix pair sets on the steps it wants grades of.
  void* extract(const char* name, int& dim) override;
  /// "extrapolation": the atoms' grades.
  void* extract_peratom(const char* name, int& columns) override;
  double memory_usage() override;

  const PotentialIdentity& potential() const override { return identity_; }
  const std::vector<std::string>& elements() const override { return elements_; }
  bool has_active_set() const override { return grade_matrix_.size() > 0; }
  bool grades_configuration() const override { return grades_configuration_; }
  void request_grades() override { grades_requested_ = true; }
  const double* atom_grades() const override { return grades_.data(); }
  double configuration_grade() const override { return configuration_grade_; }

 private:
  void allocate();
  void use_potential(const std::string& file, const std::vector<std::string>& elements);
  AtomView view() const;
  void sort_neighbors();
  void evaluate(bool graded);
  void grade_configuration(int atoms);
  void stop_if_not_finite();
  int find_not_finite() const;
  std::string describe_not_finite(int culprit) const;

  bool single_precision_ = false;
  double cutoff_ = 0.0;
  PotentialIdentity identity_;
  std::vector<std::string> elements_;  ///< [type]
  std::vector<int> species_of_type_;   ///< [type]
  std::unique_ptr<MtpEngine> engine_;

  GradeMatrix grade_matrix_;
  bool grades_configuration_ = false;
  double weight_scaling_ = 2.0;
  int extrapolation_flag_ = 0;
  bool grades_requested_ = false;
  bool graded_ = false;                                       ///< at the last evaluation
  std::vector<double> grades_ = std::vector<double>(1, 0.0);  ///< [local atom], never empty
  std::vector<double> gradient_sum_;
  double configuration_grade_ = 0.0;
};

}  // namespace pescape
