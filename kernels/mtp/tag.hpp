// The line potential_tag, where other programs see free text, and ours elements and a repulsion:
// "species: Zr O; zbl: 0.8 1.8; anything else".
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "elements.hpp"
#include "text.hpp"
#include "zbl.hpp"

namespace pescape::mtp::parsing {

struct Tag {
  std::vector<std::string> species_names;  ///< empty when the line names no elements
  std::optional<ZBL> repulsion;
  std::string text;  ///< what else there is
};

/// Takes a part that begins with a prefix and ends at a semicolon off a line.
inline std::optional<std::string_view> part_of(std::string_view& line, std::string_view prefix) {
  if (line.substr(0, prefix.size()) != prefix) return std::nullopt;
  const std::size_t end = std::min(line.find(';'), line.size());
  const std::string_view part = line.substr(prefix.size(), end - prefix.size());
  line.remove_prefix(std::min(end + 1, line.size()));
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  return part;
}

inline bool is_symbol(std::string_view name) {
  const auto within = [](char c, char low, char high) { return c >= low && c <= high; };
  return (name.size() == 1 || name.size() == 2) && within(name[0], 'A', 'Z') &&
         (name.size() == 1 || within(name[1], 'a', 'z'));
}

inline std::vector<std::string> tagged_species(std::string_view text, const Scanner& in) {
  std::vector<std::string> found;
  Scanner names(text);
  for (names.skip_space(); !names.at_end(); names.skip_space()) {
    const std::string_view name = names.word();
    if (!is_symbol(name))
      in.fail("potential_tag names the species " + quoted(name) + ", which is no element's symbol");
    found.emplace_back(name);
  }
  return found;
}

/// From the distances between which the repulsion is switched off.
inline ZBL tagged_repulsion(std::string_view text, const std::vector<std::string>& species,
                            const Scanner& in) {
  const std::string expected = "potential_tag: zbl: two distances in Å, 0 < inner < outer, ";
  Scanner distances(text);
  double inner = 0.0, outer = 0.0;
  try {
    inner = distances.real("inner"), outer = distances.real("outer");
  } catch (const ParseError& error) {
    in.fail(expected + "expected; " + error.message);
  }
  distances.skip_space();
  if (!distances.at_end() || !(0.0 < inner && inner < outer))
    in.fail(expected + "expected, found " + quoted(text));
  if (species.empty())
    in.fail("potential_tag: zbl: needs the elements before it, as in species: Zr; zbl: 0.8 1.8");
  std::vector<int> numbers;
  for (const std::string& name : species) {
    numbers.push_back(atomic_number(name));
    if (numbers.back() == 0) in.fail("potential_tag: zbl: no element is called " + quoted(name));
  }
  return {numbers, inner, outer};
}

/// Takes the rest of the line that `in` is at.
inline Tag read_tag(Scanner& in) {
  Tag tag;
  std::string_view line = in.rest_of_line();
  if (const auto part = part_of(line, "species:")) tag.species_names = tagged_species(*part, in);
  if (const auto part = part_of(line, "zbl:"))
    tag.repulsion = tagged_repulsion(*part, tag.species_names, in);
  tag.text = line;
  return tag;
}

}  // namespace pescape::mtp::parsing
