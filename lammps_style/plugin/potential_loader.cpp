#include "potential_loader.hpp"

#include <mpi.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

#include "comm.h"
#include "error.h"
#include "lammps.h"
#include "pointers.h"

namespace pescape {
namespace {

/// The whole file, or the reason why it cannot be read.
struct FileBytes {
  std::string bytes, problem;
  bool is_folder = false;
};

std::string find(const std::string& name) {
  const std::string path = LAMMPS_NS::utils::get_potential_file_path(name);
  return path.empty() ? name : path;
}

FileBytes read_file(const std::string& name) {
  const std::string path = find(name);
  if (LAMMPS_NS::platform::path_is_directory(path)) return {"", "", true};
  errno = 0;
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return {"", errno ? std::strerror(errno) : "it cannot be opened", false};
  FileBytes file{std::string(std::istreambuf_iterator<char>(stream), {}), "", false};
  if (stream.bad()) return {"", "reading it failed", false};
  return file;
}

void broadcast(std::string& text, MPI_Comm world) {
  long long size = (long long)(text.size());
  MPI_Bcast(&size, 1, MPI_LONG_LONG, 0, world);
  text.resize(std::size_t(size));
  constexpr long long piece = 1 << 28;
  for (long long done = 0; done < size; done += piece)
    MPI_Bcast(&text[std::size_t(done)], int(std::min(piece, size - done)), MPI_CHAR, 0, world);
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

/// Different elements in order of appearance, without NULL.
std::vector<std::string> distinct(const std::vector<std::string>& elements) {
  std::vector<std::string> found;
  for (const std::string& element : elements)
    if (element != "NULL" && std::find(found.begin(), found.end(), element) == found.end())
      found.push_back(element);
  return found;
}

}  // namespace

bool potential_is_readable(LAMMPS_NS::LAMMPS* lmp, const std::string& name) {
  int readable = 0;
  if (lmp->comm->me == 0) readable = std::ifstream(find(name)).good();
  MPI_Bcast(&readable, 1, MPI_INT, 0, lmp->world);
  return readable != 0;
}

PotentialBytes read_potential(LAMMPS_NS::LAMMPS* lmp, const std::string& name) {
  FileBytes file;
  if (lmp->comm->me == 0) file = read_file(name);
  broadcast(file.problem, lmp->world);
  if (!file.problem.empty())
    lmp->error->all(FLERR, "cannot read potential file " + name + ": " + file.problem);
  int is_folder = file.is_folder;
  MPI_Bcast(&is_folder, 1, MPI_INT, 0, lmp->world);
  broadcast(file.bytes, lmp->world);
  return {std::move(file.bytes), is_folder != 0};
}

std::vector<int> assign_species(const std::string& file, const Potential& potential,
                                const std::vector<std::string>& elements) {
  const std::vector<std::string> used = distinct(elements);
  std::vector<std::string> known = potential.species_names;
  const std::size_t count = std::size_t(potential.species_count);
  if (used.empty())
    throw std::invalid_argument("all atom types are NULL, so " + file + " is unused");
  if (known.empty()) {
    if (used.size() != count)
      throw std::invalid_argument(file + " is for " + std::to_string(count) +
                                  " elements and does not name them, so " +
                                  "pair_coeff has to name as many different ones, in the order of "
                                  "the potential; it names " +
                                  std::to_string(used.size()) + ": " + joined(used));
    known = used;
  }
  std::vector<int> species;
  for (const std::string& element : elements) {
    const auto place = std::find(known.begin(), known.end(), element);
    if (place == known.end() && element != "NULL")
      throw std::invalid_argument("element " + element + " is not in " + file + ", which is for " +
                                  joined(known));
    species.push_back(element == "NULL" ? -1 : int(place - known.begin()));
  }
  return species;
}

}  // namespace pescape
