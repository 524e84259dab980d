#include "pair_bpnn.hpp"

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "bpnn/parse.hpp"
#include "bpnn_engine.hpp"

namespace pescape {
namespace {

/// How to make a file of ours from one of another program.
std::string advice(const std::string& name, const std::string& how, const std::string& options) {
  std::filesystem::path target = std::filesystem::path(name).lexically_normal();
  if (!target.has_filename()) target = target.parent_path();
  target.replace_extension(".bpnn");
  return ", and pair_style bpnn reads pescape's own files. Convert it" + how +
         " with: pescape convert " + name + " " + target.string() + options;
}

/// Whose file it is, if it is that of a program we know; else empty.
std::string other_program(const std::string& bytes) {
  const std::size_t start = std::min(bytes.find_first_not_of(" \t\r\n"), bytes.size());
  if (bytes.compare(start, 5, "dict(") == 0) return "Amp";
  if (bytes.compare(start, 9, "ELEM_LIST") == 0) return "SIMPLE-NN";
  return "";
}

}  // namespace

void PairBPNN::settings(int narg, char** arg) {
  if (narg > 0) fail(std::string("unknown keyword ") + arg[0] + " (there is none)");
}

Potential PairBPNN::parse(const std::string& name, const std::string& bytes) const {
  const std::string program = other_program(bytes);
  if (!program.empty())
    throw std::runtime_error("it is a file of " + program + advice(name, "", ""));
  const bpnn::PotentialFile file = bpnn::parse(bytes);
  if (!file.trained) throw std::runtime_error("it is untrained (it has no weights): fit it first");
  const auto& set = file.active_set;
  Potential potential;
  potential.engine =
      make_bpnn_engine(file.model, set ? set->parameters : bpnn::Parameters::output_layer);
  potential.species_names = file.species_names;
  potential.species_count = int(file.species_names.size());
  potential.cutoff = file.model.cutoff();
  for (const bpnn::Element& element : file.model.elements)
    potential.knows_ranges = potential.knows_ranges || !element.ranges.width.empty();
  if (set) {
    const GradeMatrix matrix =
        set->leverage.empty() ? GradeMatrix(set->size, set->inverse.data())
                              : GradeMatrix(set->size, set->leverage.data(), GradeNorm::leverage);
    potential.active_set = ActiveSet{matrix, set->neighborhood_mode, set->weight_scaling};
  }
  return potential;
}

std::string PairBPNN::about_folder(const std::string& name) const {
  return "it is a folder, perhaps one of n2p2 or RuNNer" +
         advice(name, ", naming its units,", " --length-unit Bohr --energy-unit Hartree");
}

}  // namespace pescape
