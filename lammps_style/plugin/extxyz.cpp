#include "extxyz.hpp"

#include <cstdio>

namespace pescape {
namespace {

/// Å/ps in ASE's unit of velocity, sqrt(eV / (g/mol)).
constexpr double ase_velocity = 1.0 / 98.22694788464063;

std::string quoted(const std::string& value) {
  if (!value.empty() && value.find_first_of(" \t\"\\'=,[]{}") == std::string::npos) return value;
  std::string text = "\"";
  for (char c : value) {
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  return text + "\"";
}

std::string row(const double* v, int decimals) {
  return fixed(v[0], decimals) + " " + fixed(v[1], decimals) + " " + fixed(v[2], decimals);
}

}  // namespace

std::string fixed(double number, int decimals) {
  char text[400];
  std::snprintf(text, sizeof text, "%.*f", decimals, number);
  std::string result(text);
  if (result[0] == '-' && result.find_first_not_of("-0.") == std::string::npos) result.erase(0, 1);
  return result;
}

std::string shortest(double number) {
  char text[40];
  std::snprintf(text, sizeof text, "%.10g", number);
  return text;
}

std::string extxyz_frame(const Configuration& c, const std::vector<std::string>& element_of_type,
                         const Comment& comment, bool atom_grades) {
  std::string text = std::to_string(c.atoms.size()) + "\nLattice=\"";
  for (int k = 0; k < 3; ++k) text += (k ? " " : "") + row(c.cell[k], 8);
  text += "\" Origin=\"" + row(c.origin, 8) + "\" Properties=species:S:1:pos:R:3:id:I:1:type:I:1";
  text += ":masses:R:1:momenta:R:3";
  if (atom_grades) text += ":extrapolation_grades:R:1";
  text += " pbc=\"";
  for (int k = 0; k < 3; ++k) text += std::string(k ? " " : "") + (c.periodic[k] ? "T" : "F");
  text += "\"";
  for (const auto& [key, value] : comment) text += " " + key + "=" + quoted(value);
  text += "\n";
  for (const AtomRecord& atom : c.atoms) {
    const std::string& element = element_of_type[atom.type];
    double momentum[3];
    for (int k = 0; k < 3; ++k) momentum[k] = atom.mass * atom.velocity[k] * ase_velocity;
    text += (element.empty() ? "X" : element) + " " + row(atom.position, 8) + " " +
            std::to_string(atom.id) + " " + std::to_string(atom.type) + " " + fixed(atom.mass, 6) +
            " " + row(momentum, 8);
    if (atom_grades) text += " " + fixed(atom.grade, 6);
    text += "\n";
  }
  return text;
}

}  // namespace pescape
