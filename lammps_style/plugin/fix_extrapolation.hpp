// fix ID group extrapolation N keyword value ...
//
//   select G         save configurations whose grade exceeds G (default 2.1; none: save nothing)
//   break G          end the run where the grade exceeds G (default 10; none: never)
//   file NAME        where to (default risky.xyz); appears with the first configuration
//   append yes|no    go on after what the file holds, or remove it when the first run starts (no)
//   halt soft|hard|continue    how to end: this run and those that follow, with an error, or
//                              this run only (default soft)
//
// Every N steps, and before the first, the pair style grades the configuration; the largest grade
// of the group's atoms (in configuration mode the one grade) decides.
//
// f_ID     largest grade at the last check           per atom: grades at the last check
// f_ID[1]  largest grade so far
// f_ID[2]  configurations saved
// f_ID[3]  id of the atom with the largest grade at the last check; 0 in configuration mode
#pragma once

#include <string>
#include <vector>

#include "extxyz.hpp"
#include "fix.h"
#include "frame_file.hpp"
#include "graded_pair.hpp"

namespace pescape {

class FixExtrapolation : public LAMMPS_NS::Fix {
 public:
  FixExtrapolation(LAMMPS_NS::LAMMPS* lmp, int narg, char** arg);
  ~FixExtrapolation() override;

  int setmask() override;
  void init() override;

  // Before the forces: ask for grades.
  void setup_pre_force(int vflag) override;
  void setup_pre_force_respa(int vflag, int level) override;
  void pre_force(int vflag) override;
  void pre_force_respa(int vflag, int level, int loop) override;
  void min_pre_force(int vflag) override;

  // After the step: decide.
  void setup(int vflag) override;
  void min_setup(int vflag) override;
  void end_of_step() override;
  void min_post_force(int vflag) override;
  void post_run() override;

  double compute_scalar() override;
  double compute_vector(int n) override;

  void grow_arrays(int nmax) override;
  void copy_arrays(int from, int to, int delflag) override;
  void set_arrays(int i) override;
  int pack_exchange(int i, double* buffer) override;
  int unpack_exchange(int i, double* buffer) override;
  double memory_usage() override;

 private:
  enum class Halt { soft, hard, proceed };

  /// The largest grade and its owner (0: the whole configuration).
  struct Peak {
    double grade = 0.0;
    long long atom = 0;
  };

  void parse(int narg, char** arg);
  double threshold(const char* keyword, const char* text);
  GradedPair* find_pair();
  void start_file();

  void request();
  void examine();
  Peak find_peak() const;
  Peak find_largest(const double* values) const;
  void tell_ranges();
  bool save(const Peak& peak);
  std::string add_frame(const Configuration& configuration, const Peak& peak, double temperature);
  Comment describe(const Peak& peak, double temperature) const;
  std::string sentence(const Peak& peak, const char* name, double limit) const;
  void halt(const Peak& peak);
  std::string from_first(std::string text) const;
  [[noreturn]] void fail(const std::string& what);

  double select_ = 2.1, break_ = 10.0;
  bool append_ = false;
  Halt halt_ = Halt::soft;
  FrameFile file_{"risky.xyz"};

  GradedPair* pair_ = nullptr;
  bool file_started_ = false;
  bool pending_ = false;      ///< grades were asked for and not yet looked at
  bool halted_ = false;       ///< this run
  bool ranges_told_ = false;  ///< this run
  std::string last_frame_;    ///< its atoms at rest; rank 0
  Peak now_;
  double largest_ = 0.0;
  long long saved_ = 0;
  LAMMPS_NS::bigint last_saved_step_ = -1;
  double* grades_ = nullptr;  ///< [local atom]
};

}  // namespace pescape
