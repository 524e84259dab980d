#include "pair_mtp.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "potential_loader.hpp"
#include "update.h"

namespace pescape {
namespace {

/// Written without branches, so that it runs at the speed of memory.
bool all_finite(const double* numbers, std::size_t size) {
  constexpr std::uint64_t exponent = 0x7ff0000000000000;
  std::uint64_t found = 0;
  for (std::size_t k = 0; k < size; ++k) {
    std::uint64_t bits;
    std::memcpy(&bits, numbers + k, sizeof bits);
    found |= std::uint64_t((bits & exponent) == exponent);
  }
  return found == 0;
}

bool is_finite(const double* v) { return all_finite(v, 3); }

void write_text(const std::string& text, FILE* file) {
  const int size = int(text.size());
  std::fwrite(&size, sizeof size, 1, file);
  std::fwrite(text.data(), 1, text.size(), file);
}

}  // namespace

PairMTP::PairMTP(LAMMPS_NS::LAMMPS* lmp) : Pair(lmp) {
  one_coeff = 1;
  manybody_flag = 1;
  single_enable = 0;
  restartinfo = 1;
  reinitflag = 0;
  centroidstressflag = LAMMPS_NS::CENTROID_AVAIL;
}

PairMTP::~PairMTP() {
  if (!allocated) return;
  memory->destroy(setflag);
  memory->destroy(cutsq);
}

void PairMTP::allocate() {
  if (allocated) return;
  allocated = 1;
  const int size = atom->ntypes + 1;
  memory->create(setflag, size, size, "pair:setflag");
  memory->create(cutsq, size, size, "pair:cutsq");
  for (int i = 0; i < size; ++i) std::fill_n(setflag[i], size, 0);
}

void PairMTP::settings(int narg, char** arg) {
  for (int k = 0; k < narg; k += 2) {
    const std::string key = arg[k], value = k + 1 < narg ? arg[k + 1] : "";
    if (key != "precision")
      error->all(FLERR, "pair_style mtp: unknown keyword " + key + " (there is: precision)");
    if (value != "double" && value != "single")
      error->all(FLERR, "pair_style mtp: precision is double or single, not '" + value + "'");
    single_precision_ = value == "single";
  }
}

void PairMTP::coeff(int narg, char** arg) {
  const int ntypes = atom->ntypes;
  if (narg < 3 || std::strcmp(arg[0], "*") != 0 || std::strcmp(arg[1], "*") != 0)
    error->all(FLERR, "pair_style mtp takes: pair_coeff * * FILE, then one element per atom type");
  if (narg != 3 + ntypes)
    error->all(FLERR, "pair_coeff for pair_style mtp: after the file come the elements of the " +
                          std::to_string(ntypes) + " atom types (NULL: handled elsewhere), not " +
                          std::to_string(narg - 3) + " words");
  std::vector<std::string> elements(arg + 3, arg + narg);
  if (force->pair == this && std::count(elements.begin(), elements.end(), "NULL") > 0)
    error->all(FLERR, "pair_coeff: NULL types need pair_style hybrid or hybrid/overlay");
  use_potential(arg[2], elements);
}

void PairMTP::use_potential(const std::string& file, const std::vector<std::string>& elements) {
  allocate();
  LoadedPotential potential = load_potential(lmp, file);
  std::vector<int> species;
  try {
    species = assign_species(potential, elements);
    engine_ = make_mtp_engine(potential.content.model, single_precision_);
  } catch (const std::exception& problem) {
    error->all(FLERR, std::string("pair_style mtp: ") + problem.what());
  }
  identity_ = potential.identity;
  cutoff_ = potential.content.model.max_dist;
  species_of_type_.assign(1, -1);
  species_of_type_.insert(species_of_type_.end(), species.begin(), species.end());
  elements_.assign(1, "");
  for (const std::string& element : elements) elements_.push_back(element == "NULL" ? "" : element);
  for (int i = 1; i <= atom->ntypes; ++i)
    for (int j = 1; j <= atom->ntypes; ++j)
      setflag[i][j] = species_of_type_[i] >= 0 && species_of_type_[j] >= 0;

  grade_matrix_ = GradeMatrix();
  if (!potential.content.active_set) return;
  const auto& active = *potential.content.active_set;
  if (std::size_t(active.n) != potential.content.model.parameter_count())
    error->all(FLERR, "potential file " + file + ": the active set has " +
                          std::to_string(active.n) + " rows for " +
                          std::to_string(potential.content.model.parameter_count()) +
                          " parameters");
  grade_matrix_ = GradeMatrix(int(active.n), active.inverse.data());
  grades_configuration_ = !active.neighborhood_mode();
  weight_scaling_ = active.weight_scaling;
}

void PairMTP::init_style() {
  if (std::strcmp(update->unit_style, "metal") != 0)
    error->all(FLERR, std::string("pair_style mtp requires units metal (Å, eV), not ") +
                          update->unit_style);
  if (!force->newton_pair) error->all(FLERR, "pair_style mtp requires newton on");
  if (!atom->tag_enable) error->all(FLERR, "pair_style mtp requires atom IDs (atom_modify id yes)");
  neighbor->add_request(this, LAMMPS_NS::NeighConst::REQ_FULL);
}

double PairMTP::init_one(int i, int j) {
  if (!setflag[i][j]) error->all(FLERR, "pair_style mtp: not all pair coeffs are set");
  setflag[j][i] = setflag[i][j];
  return cutoff_;
}

AtomView PairMTP::view() const {
  return {atom->x,    atom->type,  species_of_type_.data(), atom->nlocal + atom->nghost,
          list->inum, list->ilist, list->numneigh,          list->firstneigh};
}

void PairMTP::compute(int eflag, int vflag) {
  ev_init(eflag, vflag);
  graded_ = grades_requested_ || extrapolation_flag_ != 0;
  grades_requested_ = false;
  if (graded_ && !has_active_set()) error->all(FLERR, no_active_set_message(*this));
  if (neighbor->ago == 0) sort_neighbors();
  evaluate(graded_);
  if (vflag_fdotr) virial_fdotr_compute();
}

/// Brings each atom's neighbours into an order that does not depend on how atoms are spread over
/// ranks: by id, and images of one atom by position. Sums over neighbours then round alike.
void PairMTP::sort_neighbors() {
  struct Key {
    LAMMPS_NS::tagint tag;
    int neighbor;
  };
  double** x = atom->x;
  const auto before = [x](const Key& a, const Key& b) {
    if (a.tag != b.tag) return a.tag < b.tag;
    const double *p = x[a.neighbor & NEIGHMASK], *q = x[b.neighbor & NEIGHMASK];
    return std::lexicographical_compare(p, p + 3, q, q + 3);
  };
#pragma omp parallel num_threads(comm->nthreads) if (comm -> nthreads > 1)
  {
    std::vector<Key> keys;
#pragma omp for schedule(static)
    for (int k = 0; k < list->inum; ++k) {
      const int i = list->ilist[k], count = list->numneigh[i];
      int* const neighbors = list->firstneigh[i];
      keys.resize(std::size_t(count));
      for (int n = 0; n < count; ++n) keys[n] = {atom->tag[neighbors[n] & NEIGHMASK], neighbors[n]};
      std::sort(keys.begin(), keys.end(), before);
      for (int n = 0; n < count; ++n) neighbors[n] = keys[n].neighbor;
    }
  }
}

void PairMTP::evaluate(bool graded) {
  const AtomView atoms = view();
  Tally tally{};
  const bool any = atoms.nall > 0;
  tally.forces = any ? &atom->f[0][0] : nullptr;
  tally.site_energies = eflag_atom ? eatom : nullptr;
  tally.virials = any && vflag_atom ? &vatom[0][0] : nullptr;
  tally.centroid_virials = any && cvflag_atom ? &cvatom[0][0] : nullptr;
  tally.wants_virial = vflag_global || vflag_atom || cvflag_atom;
  if (!graded) {
    engine_->evaluate(atoms, comm->nthreads, tally);
  } else {
    grades_.assign(std::max(1, atom->nlocal), 0.0);
    gradient_sum_.resize(grade_matrix_.size());
    Grading grading{&grade_matrix_, grades_configuration_ ? nullptr : grades_.data(),
                    gradient_sum_.data()};
    engine_->evaluate_graded(atoms, comm->nthreads, tally, grading);
  }
  stop_if_not_finite();
  if (graded && grades_configuration_) grade_configuration(atoms.inum);
  for (double& grade : grades_)
    if (!std::isfinite(grade)) grade = std::numeric_limits<double>::infinity();
  if (eflag_global) eng_vdwl += tally.energy;
  if (vflag_global)
    for (int k = 0; k < 6; ++k) virial[k] += tally.virial[k];
}

void PairMTP::grade_configuration(int atoms) {
  std::vector<double> sum(gradient_sum_.size());
  MPI_Reduce(gradient_sum_.data(), sum.data(), int(sum.size()), MPI_DOUBLE, MPI_SUM, 0, world);
  const double mine = atoms;
  double all = 0.0;
  MPI_Reduce(&mine, &all, 1, MPI_DOUBLE, MPI_SUM, 0, world);
  if (comm->me == 0) {
    for (double& b : sum) b /= std::pow(std::max(1.0, all), 0.5 * weight_scaling_);
    grade_matrix_.grades(sum.data(), 1, &configuration_grade_);
    if (!std::isfinite(configuration_grade_))
      configuration_grade_ = std::numeric_limits<double>::infinity();
  }
  MPI_Bcast(&configuration_grade_, 1, MPI_DOUBLE, 0, world);
  for (int k = 0; k < atoms; ++k) grades_[list->ilist[k]] = configuration_grade_;
}

/// Ends the run on all ranks with one message if anything on any of them is not a number. Every
/// step pays one small reduction for it, as it does for the decision to rebuild neighbour lists.
void PairMTP::stop_if_not_finite() {
  const int culprit = find_not_finite();
  int mine = culprit < 0 ? comm->nprocs : comm->me, first = mine;
  if (comm->nprocs > 1) MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, world);
  if (first == comm->nprocs) return;
  std::string message = mine == first ? describe_not_finite(culprit) : "";
  int size = int(message.size());
  MPI_Bcast(&size, 1, MPI_INT, first, world);
  message.resize(std::size_t(size));
  MPI_Bcast(&message[0], size, MPI_CHAR, first, world);
  error->all(FLERR, message);
}

/// An atom whose position or force is not a number; -1 if there is none.
int PairMTP::find_not_finite() const {
  const int nlocal = atom->nlocal, nall = nlocal + atom->nghost;
  if (nall == 0) return -1;
  double **x = atom->x, **f = atom->f;
  if (all_finite(x[0], 3 * std::size_t(nlocal)) && all_finite(f[0], 3 * std::size_t(nall)))
    return -1;
  for (int i = 0; i < nlocal; ++i)
    if (!is_finite(x[i])) return i;
  int i = 0;
  while (is_finite(f[i])) ++i;
  return i;
}

std::string PairMTP::describe_not_finite(int culprit) const {
  double** x = atom->x;
  double closest = std::numeric_limits<double>::infinity();
  std::string pair;
  for (int k = 0; k < list->inum; ++k) {
    const int i = list->ilist[k];
    for (int n = 0; n < list->numneigh[i]; ++n) {
      const int j = list->firstneigh[i][n] & NEIGHMASK;
      const double r = std::hypot(x[j][0] - x[i][0], x[j][1] - x[i][1], x[j][2] - x[i][2]);
      if (!(r < closest)) continue;
      closest = r;
      pair = std::to_string(atom->tag[i]) + " and " + std::to_string(atom->tag[j]);
    }
  }
  std::string message = "pair_style mtp: the ";
  message += is_finite(x[culprit]) ? "force on" : "position of";
  message += " atom " + std::to_string(atom->tag[culprit]) + " is not finite at step " +
             std::to_string(update->ntimestep);
  if (!pair.empty())
    message +=
        "; the closest atoms there, " + pair + ", are " + std::to_string(closest) + " Å apart";
  return message +
         ". The dynamics has left what the potential can describe: a shorter time step or fix "
         "extrapolation would stop it earlier";
}

void PairMTP::write_restart_settings(FILE* file) {
  const int single = single_precision_;
  std::fwrite(&single, sizeof single, 1, file);
}

void PairMTP::read_restart_settings(FILE* file) {
  int single = 0;
  if (comm->me == 0)
    LAMMPS_NS::utils::sfread(FLERR, &single, sizeof single, 1, file, nullptr, error);
  MPI_Bcast(&single, 1, MPI_INT, 0, world);
  single_precision_ = single != 0;
}

void PairMTP::write_restart(FILE* file) {
  write_restart_settings(file);
  write_text(identity_.file, file);
  write_text(identity_.sha256, file);
  for (int type = 1; type <= atom->ntypes; ++type)
    write_text(elements_.empty() ? "" : elements_[type], file);
}

void PairMTP::read_restart(FILE* file) {
  read_restart_settings(file);
  allocate();
  const auto read_text = [&] {
    int size = 0;
    if (comm->me == 0) LAMMPS_NS::utils::sfread(FLERR, &size, sizeof size, 1, file, nullptr, error);
    MPI_Bcast(&size, 1, MPI_INT, 0, world);
    std::string text(std::size_t(std::max(0, size)), '\0');
    if (size == 0) return text;
    if (comm->me == 0) LAMMPS_NS::utils::sfread(FLERR, &text[0], 1, size, file, nullptr, error);
    MPI_Bcast(&text[0], size, MPI_CHAR, 0, world);
    return text;
  };
  const std::string name = read_text(), hash = read_text();
  std::vector<std::string> elements;
  for (int type = 1; type <= atom->ntypes; ++type) {
    const std::string element = read_text();
    elements.push_back(element.empty() ? "NULL" : element);
  }
  if (name.empty()) return;
  if (!potential_is_readable(lmp, name)) {
    if (comm->me == 0)
      error->warning(FLERR, "the restart file names potential file " + name +
                                ", which is not here: give pair_coeff before the next run");
    return;
  }
  use_potential(name, elements);
  if (hash != identity_.sha256 && comm->me == 0)
    error->warning(FLERR, "potential file " + name + " has changed since the restart was written");
}

void* PairMTP::extract(const char* name, int& dim) {
  dim = 0;
  if (std::strcmp(name, "cutoff") == 0) return &cutoff_;
  if (std::strcmp(name, "extrapolation_flag") == 0) return &extrapolation_flag_;
  return nullptr;
}

void* PairMTP::extract_peratom(const char* name, int& columns) {
  if (std::strcmp(name, "extrapolation") != 0) return nullptr;
  columns = 0;
  if (!graded_ && update->whichflag != 0)
    error->all(FLERR,
               "pair_style mtp: no grades were asked for on this step; the number after "
               "'extrapolation' in fix pair has to be 1");
  return grades_.data();
}

double PairMTP::memory_usage() {
  const double n = grade_matrix_.size();
  return Pair::memory_usage() + (engine_ ? engine_->memory_usage() : 0.0) +
         double(sizeof(double)) * (n * n + double(grades_.size()));
}

}  // namespace pescape
