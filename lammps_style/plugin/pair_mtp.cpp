#include "pair_mtp.hpp"

#include <mpi.h>

#include <cstdio>
#include <stdexcept>

#include "comm.h"
#include "mtp/parse.hpp"
#include "mtp_engine.hpp"

namespace pescape {

void PairMTP::settings(int narg, char** arg) {
  for (int k = 0; k < narg; k += 2) {
    const std::string key = arg[k], value = k + 1 < narg ? arg[k + 1] : "";
    if (key != "precision") fail("unknown keyword " + key + " (there is: precision)");
    if (value != "double" && value != "single")
      fail("precision is double or single, not '" + value + "'");
    single_precision_ = value == "single";
  }
}

Potential PairMTP::parse(const std::string&, const std::string& bytes) const {
  const mtp::PotentialFile file = mtp::parse(bytes);
  if (!file.trained())
    throw std::runtime_error("it is untrained (it has no coefficients): fit it first");
  Potential potential;
  potential.engine = make_mtp_engine(file.model, single_precision_);
  potential.species_names = file.species_names;
  potential.species_count = file.model.species_count;
  potential.cutoff = file.model.max_dist;
  potential.nearest = file.model.nearest;
  if (file.active_set)
    potential.active_set =
        ActiveSet{GradeMatrix(file.active_set->n, file.active_set->inverse.data()),
                  file.active_set->neighborhood_mode(), file.active_set->weight_scaling};
  return potential;
}

std::string PairMTP::about_folder(const std::string&) const { return "it is a folder"; }

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

}  // namespace pescape
