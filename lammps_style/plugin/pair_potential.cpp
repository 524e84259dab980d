#include "pair_potential.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <limits>

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "extxyz.hpp"
#include "force.h"
#include "memory.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "not_finite.hpp"
#include "potential_loader.hpp"
#include "sha256.hpp"
#include "update.h"

namespace pescape {
namespace {

void write_text(const std::string& text, FILE* file) {
  const int size = int(text.size());
  std::fwrite(&size, sizeof size, 1, file);
  std::fwrite(text.data(), 1, text.size(), file);
}

}  // namespace

PairPotential::PairPotential(LAMMPS_NS::LAMMPS* lmp) : Pair(lmp) {
  one_coeff = 1;
  manybody_flag = 1;
  single_enable = 0;
  restartinfo = 1;
  reinitflag = 0;
  centroidstressflag = LAMMPS_NS::CENTROID_AVAIL;
}

PairPotential::~PairPotential() {
  if (!allocated) return;
  memory->destroy(setflag);
  memory->destroy(cutsq);
}

void PairPotential::allocate() {
  if (allocated) return;
  allocated = 1;
  const int size = atom->ntypes + 1;
  memory->create(setflag, size, size, "pair:setflag");
  memory->create(cutsq, size, size, "pair:cutsq");
  for (int i = 0; i < size; ++i) std::fill_n(setflag[i], size, 0);
}

void PairPotential::fail(const std::string& what) const {
  error->all(FLERR, std::string("pair_style ") + style_name() + ": " + what);
}

void PairPotential::coeff(int narg, char** arg) {
  const int ntypes = atom->ntypes;
  if (narg < 3 || std::strcmp(arg[0], "*") != 0 || std::strcmp(arg[1], "*") != 0)
    fail("it takes pair_coeff * * FILE, then one element per atom type");
  if (narg != 3 + ntypes)
    fail("after the file, pair_coeff names the elements of the " + std::to_string(ntypes) +
         " atom types (NULL: handled elsewhere), not " + std::to_string(narg - 3) + " words");
  std::vector<std::string> elements(arg + 3, arg + narg);
  if (force->pair == this && std::count(elements.begin(), elements.end(), "NULL") > 0)
    fail("NULL types need pair_style hybrid or hybrid/overlay");
  use_potential(arg[2], elements);
}

void PairPotential::use_potential(const std::string& file,
                                  const std::vector<std::string>& elements) {
  allocate();
  const PotentialBytes read = read_potential(lmp, file);
  std::vector<int> species;
  if (read.is_folder)
    error->all(FLERR, "cannot read potential file " + file + ": " + about_folder(file));
  try {
    potential_ = parse(file, read.bytes);
    identity_ = {file, sha256(read.bytes)};
  } catch (const std::exception& problem) {
    error->all(FLERR, "potential file " + file + ": " + problem.what());
  }
  try {
    species = assign_species(file, potential_, elements);
  } catch (const std::exception& problem) {
    fail(problem.what());
  }
  species_of_type_.assign(1, -1);
  species_of_type_.insert(species_of_type_.end(), species.begin(), species.end());
  elements_.assign(1, "");
  for (const std::string& element : elements) elements_.push_back(element == "NULL" ? "" : element);
  for (int i = 1; i <= atom->ntypes; ++i)
    for (int j = 1; j <= atom->ntypes; ++j)
      setflag[i][j] = species_of_type_[i] >= 0 && species_of_type_[j] >= 0;
}

void PairPotential::init_style() {
  if (std::strcmp(update->unit_style, "metal") != 0)
    fail(std::string("it requires units metal (Å, eV), not ") + update->unit_style);
  if (!force->newton_pair) fail("it requires newton on");
  if (!atom->tag_enable) fail("it requires atom IDs (atom_modify id yes)");
  neighbor->add_request(this, LAMMPS_NS::NeighConst::REQ_FULL);
}

double PairPotential::init_one(int i, int j) {
  if (!setflag[i][j]) fail("not all pair coeffs are set");
  setflag[j][i] = setflag[i][j];
  return potential_.cutoff;
}

AtomView PairPotential::view() const {
  return {atom->x,    atom->type,  species_of_type_.data(), atom->nlocal + atom->nghost,
          list->inum, list->ilist, list->numneigh,          list->firstneigh};
}

void PairPotential::compute(int eflag, int vflag) {
  ev_init(eflag, vflag);
  graded_ = grades_requested_ || extrapolation_flag_ != 0;
  grades_requested_ = false;
  if (graded_ && !has_active_set()) error->all(FLERR, no_active_set_message(*this));
  if (neighbor->ago == 0) {
    sort_neighbors();
    warn_if_nearer();
  }
  evaluate(graded_);
  if (vflag_fdotr) virial_fdotr_compute();
}

/// Brings each atom's neighbours into an order that does not depend on how atoms are spread over
/// ranks: by id, and images of one atom by position. Sums over neighbours then round alike.
void PairPotential::sort_neighbors() {
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

/// Tells once, when lists are new, of a pair that is nearer than any of the training data.
void PairPotential::warn_if_nearer() {
  if (warned_ || potential_.nearest.empty()) return;
  struct {
    double ratio;
    int rank;
  } mine{1.0, comm->me}, least;
  double found[4] = {0.0, 0.0, 0.0, 0.0};  // ids, distance, limit
  for (int k = 0; k < list->inum; ++k) {
    const int i = list->ilist[k], si = species_of_type_[atom->type[i]];
    const double* const xi = atom->x[i];
    for (int n = 0; si >= 0 && n < list->numneigh[i]; ++n) {
      const int j = list->firstneigh[i][n] & NEIGHMASK, sj = species_of_type_[atom->type[j]];
      if (sj < 0) continue;
      const double limit = potential_.nearest[std::size_t(si) * potential_.species_count + sj];
      const double* const xj = atom->x[j];
      double r2 = 0.0;
      for (int axis = 0; axis < 3; ++axis) r2 += (xj[axis] - xi[axis]) * (xj[axis] - xi[axis]);
      if (r2 >= mine.ratio * mine.ratio * limit * limit) continue;
      const double r = std::sqrt(r2);
      mine.ratio = r / limit;
      found[0] = double(atom->tag[i]), found[1] = double(atom->tag[j]);
      found[2] = r, found[3] = limit;
    }
  }
  MPI_Allreduce(&mine, &least, 1, MPI_DOUBLE_INT, MPI_MINLOC, world);
  if (least.ratio >= 1.0) return;
  warned_ = true;
  MPI_Bcast(found, 4, MPI_DOUBLE, least.rank, world);
  const auto id = [&](double tag) { return std::to_string((long long)tag); };
  if (comm->me == 0)
    error->warning(FLERR, std::string("pair_style ") + style_name() + ": step " +
                              std::to_string(update->ntimestep) + ": atoms " +
                              id(std::min(found[0], found[1])) + " and " +
                              id(std::max(found[0], found[1])) + " are " + fixed(found[2], 3) +
                              " Å apart, nearer than any of the training data (" +
                              fixed(found[3], 3) +
                              " Å): a wall acts there, nothing that was fitted");
}

void PairPotential::evaluate(bool graded) {
  const AtomView atoms = view();
  Tally tally{};
  const bool any = atoms.nall > 0;
  tally.forces = any ? &atom->f[0][0] : nullptr;
  tally.site_energies = eflag_atom ? eatom : nullptr;
  tally.virials = any && vflag_atom ? &vatom[0][0] : nullptr;
  tally.centroid_virials = any && cvflag_atom ? &cvatom[0][0] : nullptr;
  tally.wants_virial = vflag_global || vflag_atom || cvflag_atom;
  if (!graded) {
    potential_.engine->evaluate(atoms, comm->nthreads, tally);
  } else {
    grades_.assign(std::max(1, atom->nlocal), 0.0);
    range_excess_.assign(potential_.knows_ranges ? grades_.size() : 0, 0.0);
    const GradeMatrix& matrix = potential_.active_set->matrix;
    gradient_sum_.resize(matrix.size());
    Grading grading{&matrix, grades_configuration() ? nullptr : grades_.data(),
                    gradient_sum_.data(), range_excess()};
    potential_.engine->evaluate_graded(atoms, comm->nthreads, tally, grading);
  }
  stop_if_not_finite(lmp, *list, style_name());
  if (graded && grades_configuration()) grade_configuration(atoms.inum);
  for (double& grade : grades_)
    if (!std::isfinite(grade)) grade = std::numeric_limits<double>::infinity();
  if (eflag_global) eng_vdwl += tally.energy;
  if (vflag_global)
    for (int k = 0; k < 6; ++k) virial[k] += tally.virial[k];
}

void PairPotential::grade_configuration(int atoms) {
  std::vector<double> sum(gradient_sum_.size());
  MPI_Reduce(gradient_sum_.data(), sum.data(), int(sum.size()), MPI_DOUBLE, MPI_SUM, 0, world);
  const double mine = atoms;
  double all = 0.0;
  MPI_Reduce(&mine, &all, 1, MPI_DOUBLE, MPI_SUM, 0, world);
  if (comm->me == 0) {
    for (double& b : sum)
      b /= std::pow(std::max(1.0, all), 0.5 * potential_.active_set->weight_scaling);
    potential_.active_set->matrix.grades(sum.data(), 1, &configuration_grade_);
    if (!std::isfinite(configuration_grade_))
      configuration_grade_ = std::numeric_limits<double>::infinity();
  }
  MPI_Bcast(&configuration_grade_, 1, MPI_DOUBLE, 0, world);
  for (int k = 0; k < atoms; ++k) grades_[list->ilist[k]] = configuration_grade_;
}

void PairPotential::write_restart(FILE* file) {
  write_restart_settings(file);
  write_text(identity_.file, file);
  write_text(identity_.sha256, file);
  for (int type = 1; type <= atom->ntypes; ++type)
    write_text(elements_.empty() ? "" : elements_[type], file);
}

void PairPotential::read_restart(FILE* file) {
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

void* PairPotential::extract(const char* name, int& dim) {
  dim = 0;
  if (std::strcmp(name, "cutoff") == 0) return &potential_.cutoff;
  if (std::strcmp(name, "extrapolation_flag") == 0) return &extrapolation_flag_;
  return nullptr;
}

void* PairPotential::extract_peratom(const char* name, int& columns) {
  if (std::strcmp(name, "extrapolation") != 0) return nullptr;
  columns = 0;
  if (!graded_ && update->whichflag != 0)
    fail(
        "no grades were asked for on this step; the number after 'extrapolation' in fix pair has "
        "to be 1");
  return grades_.data();
}

double PairPotential::memory_usage() {
  const double n = has_active_set() ? potential_.active_set->matrix.size() : 0;
  return Pair::memory_usage() + (potential_.engine ? potential_.engine->memory_usage() : 0.0) +
         double(sizeof(double)) * (n * n + double(grades_.size() + range_excess_.size()));
}

}  // namespace pescape
