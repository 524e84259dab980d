// Extended XYZ text, as ASE reads it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "configuration.hpp"

namespace pescape {

/// Entries of the comment line: keys and values, quoted where they need it.
using Comment = std::vector<std::pair<std::string, std::string>>;

/// A number with `decimals` digits after the point; never "-0.00".
std::string fixed(double number, int decimals);

/// A number as short as it can be ("2.1", "inf").
std::string shortest(double number);

/// The frame of a configuration: species, positions (Å), id, type, masses (g/mol), momenta (ASE's
/// unit) and, if `atom_grades`, the column extrapolation_grades.
std::string extxyz_frame(const Configuration& configuration,
                         const std::vector<std::string>& element_of_type, const Comment& comment,
                         bool atom_grades);

}  // namespace pescape
