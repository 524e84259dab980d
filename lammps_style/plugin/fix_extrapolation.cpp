#include "fix_extrapolation.hpp"

#include <mpi.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>

#include "atom.h"
#include "comm.h"
#include "compute.h"
#include "configuration_gather.hpp"
#include "error.h"
#include "force.h"
#include "group.h"
#include "memory.h"
#include "modify.h"
#include "pair.h"
#include "timer.h"
#include "update.h"

namespace pescape {
namespace {

constexpr double never = std::numeric_limits<double>::infinity();

/// Pair styles of this plugin that can grade.
constexpr const char* graded_styles[] = {"mtp", "bpnn"};

/// Atoms whose grades differ by no more than rounding are equals; the lowest id stands for them.
constexpr double equal_grades = 1.0 - 1e-9;

bool same_file(const std::string& a, const std::string& b) {
  namespace fs = std::filesystem;
  std::error_code problem;
  return fs::weakly_canonical(fs::absolute(a), problem) ==
         fs::weakly_canonical(fs::absolute(b), problem);
}

}  // namespace

FixExtrapolation::FixExtrapolation(LAMMPS_NS::LAMMPS* lmp, int narg, char** arg)
    : Fix(lmp, narg, arg) {
  parse(narg, arg);
  dynamic_group_allow = 1;
  scalar_flag = vector_flag = peratom_flag = 1;
  size_vector = 3;
  size_peratom_cols = 0;
  extscalar = extvector = 0;
  // The values of the last check can be read at any step.
  global_freq = peratom_freq = 1;
  create_attribute = 1;
  maxexchange = 1;
  FixExtrapolation::grow_arrays(atom->nmax);
  std::fill_n(grades_, atom->nlocal, 0.0);
  atom->add_callback(LAMMPS_NS::Atom::GROW);
}

FixExtrapolation::~FixExtrapolation() {
  atom->delete_callback(id, LAMMPS_NS::Atom::GROW);
  memory->destroy(grades_);
}

void FixExtrapolation::fail(const std::string& what) {
  error->all(FLERR, std::string("fix ") + id + " extrapolation: " + what);
}

void FixExtrapolation::parse(int narg, char** arg) {
  if (narg < 4) fail("give the number of steps between checks: fix ID group extrapolation N ...");
  nevery = LAMMPS_NS::utils::inumeric(FLERR, arg[3], false, lmp);
  if (nevery < 1)
    fail(std::string("the number of steps between checks is at least 1, not ") + arg[3]);
  for (int k = 4; k < narg; k += 2) {
    const std::string key = arg[k];
    if (k + 1 == narg) fail("keyword " + key + " has no value");
    const std::string value = arg[k + 1];
    if (key == "select") {
      select_ = threshold("select", arg[k + 1]);
    } else if (key == "break") {
      break_ = threshold("break", arg[k + 1]);
    } else if (key == "file") {
      file_ = FrameFile(value);
    } else if (key == "append") {
      if (value != "yes" && value != "no") fail("append is yes or no, not " + value);
      append_ = value == "yes";
    } else if (key == "halt") {
      if (value == "soft")
        halt_ = Halt::soft;
      else if (value == "hard")
        halt_ = Halt::hard;
      else if (value == "continue")
        halt_ = Halt::proceed;
      else
        fail("halt is soft, hard or continue, not " + value);
    } else {
      fail("unknown keyword " + key + " (there are: select, break, file, append, halt)");
    }
  }
  if (select_ < never && break_ < select_)
    fail("break " + shortest(break_) + " is less than select " + shortest(select_) +
         ": the configuration that ends the run would not be saved");
}

double FixExtrapolation::threshold(const char* keyword, const char* text) {
  if (std::strcmp(text, "none") == 0) return never;
  const double value = LAMMPS_NS::utils::numeric(FLERR, text, false, lmp);
  if (!(value > 0.0)) fail(std::string(keyword) + " is a positive grade or none, not " + text);
  return value;
}

int FixExtrapolation::setmask() {
  using namespace LAMMPS_NS::FixConst;
  return PRE_FORCE | PRE_FORCE_RESPA | MIN_PRE_FORCE | END_OF_STEP | MIN_POST_FORCE | POST_RUN;
}

void FixExtrapolation::init() {
  if (!atom->tag_enable) fail("atoms need IDs (atom_modify id yes)");
  pair_ = find_pair();
  if (!pair_->has_active_set()) fail(no_active_set_message(*pair_));
  halted_ = ranges_told_ = false;
  if (!file_started_ && select_ < never) start_file();
}

GradedPair* FixExtrapolation::find_pair() {
  std::vector<GradedPair*> found;
  std::string names;
  for (const char* style : graded_styles)
    // Sub-styles of a hybrid are numbered from 1; a style that occurs once answers to any number.
    for (int number = 1; force->pair; ++number) {
      auto* pair = dynamic_cast<GradedPair*>(force->pair_match(style, 1, number));
      if (!pair || std::find(found.begin(), found.end(), pair) != found.end()) break;
      found.push_back(pair);
      names += (names.empty() ? "" : ", ") + std::string(style) + " " + std::to_string(number);
    }
  if (found.empty())
    fail(
        "no pair style gives extrapolation grades; use pair_style mtp or bpnn with a "
        "file that has an active set");
  if (found.size() > 1)
    fail("several pair styles give grades (" + names + ") and a fix can watch only one");
  return found.front();
}

void FixExtrapolation::start_file() {
  for (Fix* other : modify->get_fix_list()) {
    const auto* twin = dynamic_cast<FixExtrapolation*>(other);
    if (twin && twin != this && twin->select_ < never &&
        same_file(twin->file_.path(), file_.path()))
      fail(std::string("fix ") + twin->id + " writes to " + file_.path() + " too");
  }
  const std::string problem = from_first(comm->me == 0 ? file_.start(append_) : "");
  if (!problem.empty()) fail("cannot write " + file_.path() + ": " + problem);
  file_started_ = true;
}

/// Rank 0's text, on all ranks.
std::string FixExtrapolation::from_first(std::string text) const {
  int size = int(text.size());
  MPI_Bcast(&size, 1, MPI_INT, 0, world);
  text.resize(std::size_t(size));
  if (size > 0) MPI_Bcast(&text[0], size, MPI_CHAR, 0, world);
  return text;
}

void FixExtrapolation::request() {
  pair_->request_grades();
  pending_ = true;
}

void FixExtrapolation::setup_pre_force(int) { request(); }
void FixExtrapolation::setup_pre_force_respa(int, int) { request(); }

void FixExtrapolation::pre_force(int) {
  if (update->ntimestep % nevery == 0) request();
}

void FixExtrapolation::pre_force_respa(int vflag, int, int) { pre_force(vflag); }
void FixExtrapolation::min_pre_force(int vflag) { pre_force(vflag); }

void FixExtrapolation::setup(int) { examine(); }
void FixExtrapolation::min_setup(int) { examine(); }
void FixExtrapolation::end_of_step() { examine(); }
void FixExtrapolation::min_post_force(int) { examine(); }

void FixExtrapolation::post_run() {
  if (halted_ && halt_ == Halt::proceed) timer->reset_timeout();
}

/// Looks at the grades, on all ranks alike: every decision comes from numbers they share.
void FixExtrapolation::examine() {
  if (!pending_) return;
  pending_ = false;
  std::copy_n(pair_->atom_grades(), atom->nlocal, grades_);
  now_ = find_peak();
  largest_ = std::max(largest_, now_.grade);
  // A minimizer tries several configurations in a step: one of them is enough.
  const bool another = update->whichflag == 2 && update->ntimestep == last_saved_step_;
  const bool is_new = now_.grade > select_ && !another && save(now_);
  tell_ranges();
  const bool halts = now_.grade > break_ && !halted_;
  if (halts) return halt(now_);
  if (is_new && comm->me == 0)
    LAMMPS_NS::utils::logmesg(lmp, sentence(now_, "select", select_) + ": configuration " +
                                       std::to_string(saved_) + " in " + file_.path() + "\n");
}

FixExtrapolation::Peak FixExtrapolation::find_peak() const {
  if (pair_->grades_configuration()) return {pair_->configuration_grade(), 0};
  return find_largest(grades_);
}

/// The largest of the group's values, given by atom, the same on all ranks.
FixExtrapolation::Peak FixExtrapolation::find_largest(const double* values) const {
  double mine = 0.0;
  for (int i = 0; i < atom->nlocal; ++i)
    if (atom->mask[i] & groupbit) mine = std::max(mine, values[i]);
  Peak peak;
  MPI_Allreduce(&mine, &peak.grade, 1, MPI_DOUBLE, MPI_MAX, world);
  long long lowest = std::numeric_limits<long long>::max();
  for (int i = 0; i < atom->nlocal; ++i)
    if ((atom->mask[i] & groupbit) && values[i] >= peak.grade * equal_grades)
      lowest = std::min(lowest, (long long)(atom->tag[i]));
  MPI_Allreduce(&lowest, &peak.atom, 1, MPI_LONG_LONG, MPI_MIN, world);
  if (peak.atom == std::numeric_limits<long long>::max()) peak.atom = 0;
  return peak;
}

/// Once a run, says which atoms are beyond the ranges of the training data, and how far.
void FixExtrapolation::tell_ranges() {
  const double* excess = pair_->range_excess();
  if (!excess || ranges_told_) return;
  long long mine = 0, outside = 0;
  for (int i = 0; i < atom->nlocal; ++i)
    if ((atom->mask[i] & groupbit) && excess[i] > 0.0) ++mine;
  MPI_Allreduce(&mine, &outside, 1, MPI_LONG_LONG, MPI_SUM, world);
  if (outside == 0) return;
  ranges_told_ = true;
  const Peak worst = find_largest(excess);
  if (comm->me == 0)
    LAMMPS_NS::utils::logmesg(
        lmp, std::string("fix ") + id + ": step " + std::to_string(update->ntimestep) + ": " +
                 std::to_string(outside) +
                 " atoms have symmetry functions outside the ranges of the training data, atom " +
                 std::to_string(worst.atom) + " the farthest, by " + fixed(worst.grade, 2) +
                 " widths of a range (told once a run)\n");
}

/// Saves the configuration; false if the file already ends with it.
bool FixExtrapolation::save(const Peak& peak) {
  auto* thermometer = modify->get_compute_by_id("thermo_temp");
  const double temperature = thermometer ? thermometer->compute_scalar() : 0.0;
  const Configuration configuration = gather_configuration(lmp, grades_);
  const bool whole = (long long)(configuration.atoms.size()) == (long long)(atom->natoms);
  std::string outcome;
  if (comm->me == 0) outcome = whole ? add_frame(configuration, peak, temperature) : "lost atoms";
  outcome = from_first(outcome);
  if (outcome == "old") return false;
  if (outcome == "lost atoms") {
    if (comm->me == 0)
      error->warning(FLERR,
                     std::string("fix ") + id + " extrapolation: the configuration of step " +
                         std::to_string(update->ntimestep) + " is not saved, for atoms were lost");
    return false;
  }
  if (outcome != "new") fail("cannot write " + file_.path() + ": " + outcome);
  ++saved_;
  last_saved_step_ = update->ntimestep;
  return true;
}

/// Rank 0 only. Returns "new", "old" (it is the one saved last) or what went wrong.
std::string FixExtrapolation::add_frame(const Configuration& configuration, const Peak& peak,
                                        double temperature) {
  Configuration at_rest = configuration;
  for (AtomRecord& atom : at_rest.atoms) std::fill_n(atom.velocity, 3, 0.0);
  std::string bare = extxyz_frame(at_rest, pair_->elements(), {}, false);
  if (bare == last_frame_) return "old";
  const std::string problem =
      file_.add(extxyz_frame(configuration, pair_->elements(), describe(peak, temperature),
                             !pair_->grades_configuration()));
  if (!problem.empty()) return problem;
  last_frame_ = std::move(bare);
  return "new";
}

Comment FixExtrapolation::describe(const Peak& peak, double temperature) const {
  const double time = update->atime + double(update->ntimestep - update->atimestep) * update->dt;
  Comment comment = {{"step", std::to_string(update->ntimestep)},
                     {"time", fixed(time, 6)},
                     {"temperature", fixed(temperature, 4)},
                     {"max_grade", fixed(peak.grade, 6)}};
  if (pair_->grades_configuration())
    comment.emplace_back("grade_mode", "configuration");
  else {
    comment.emplace_back("grade_mode", "neighborhood");
    comment.emplace_back("max_grade_atom", std::to_string(peak.atom));
  }
  comment.emplace_back("select", shortest(select_));
  comment.emplace_back("break", shortest(break_));
  comment.emplace_back("potential", pair_->potential().file);
  comment.emplace_back("potential_sha256", pair_->potential().sha256);
  return comment;
}

std::string FixExtrapolation::sentence(const Peak& peak, const char* name, double limit) const {
  std::string text = std::string("fix ") + id + ": step " + std::to_string(update->ntimestep) +
                     ": extrapolation grade " + fixed(peak.grade, 3) + " of ";
  text += peak.atom > 0 ? "atom " + std::to_string(peak.atom) : "the configuration";
  return text + " > " + name + " " + shortest(limit);
}

void FixExtrapolation::halt(const Peak& peak) {
  halted_ = true;
  std::string text =
      sentence(peak, "break", break_) + " (potential " + pair_->potential().file + ")";
  if (peak.grade > select_ && saved_ > 0)
    text += ", configuration " + std::to_string(saved_) + " in " + file_.path();
  if (halt_ == Halt::hard) error->all(FLERR, text);
  text += halt_ == Halt::soft ? ": this run and the following ones end" : ": this run ends";
  if (comm->me == 0) LAMMPS_NS::utils::logmesg(lmp, text + "\n");
  timer->force_timeout();
}

double FixExtrapolation::compute_scalar() { return now_.grade; }

double FixExtrapolation::compute_vector(int n) {
  return n == 0 ? largest_ : n == 1 ? double(saved_) : double(now_.atom);
}

void FixExtrapolation::grow_arrays(int nmax) {
  memory->grow(grades_, nmax, "fix_extrapolation:grades");
  vector_atom = grades_;
}

void FixExtrapolation::copy_arrays(int from, int to, int) { grades_[to] = grades_[from]; }
void FixExtrapolation::set_arrays(int i) { grades_[i] = 0.0; }

int FixExtrapolation::pack_exchange(int i, double* buffer) {
  buffer[0] = grades_[i];
  return 1;
}

int FixExtrapolation::unpack_exchange(int i, double* buffer) {
  grades_[i] = buffer[0];
  return 1;
}

double FixExtrapolation::memory_usage() { return double(atom->nmax) * sizeof(double); }

}  // namespace pescape
