// The line potential_tag, where other programs see free text, and ours elements, the shortest
// distances of their pairs and a repulsion: "species: Zr O; zbl: 0.8 1.8; anything else", or
// "species: Zr O; nearest: Zr-Zr 2.3 Zr-O 1.7 O-O 2.1; zbl: Zr-Zr 1.4 2.6 Zr-O 1.0 1.9
// O-O 1.3 2.3".
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
  std::vector<double> nearest;             ///< Å, of ordered pairs of species; may be empty
  std::vector<double> summits;             ///< eV, of species; may be empty
  std::vector<double> densest;             ///< of ordered pairs of species; may be empty
  std::optional<ZBL> repulsion;
  bool of_pairs = false;  ///< the repulsion has distances of each pair
  std::string text;       ///< what else there is
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

/// Numbers for each ordered pair of species, from "Zr-Zr 1.1 2.2 Zr-O 0.9 1.6 O-O 0.8 1.5"; each
/// table of `columns` holds one number per ordered pair. Every pair is named once: in either order,
/// or in both where they are `ordered`.
inline std::vector<std::vector<double>> pair_tables(std::string_view text,
                                                    const std::vector<std::string>& species,
                                                    std::size_t columns, bool ordered = false) {
  const std::size_t count = species.size();
  std::vector<std::vector<double>> tables(columns, std::vector<double>(count * count, -1.0));
  const auto place = [&](std::string_view name) {
    const auto found = std::find(species.begin(), species.end(), name);
    if (found == species.end()) throw ParseError(0, "no species is called " + quoted(name));
    return std::size_t(found - species.begin());
  };
  Scanner words(text);
  for (words.skip_space(); !words.at_end(); words.skip_space()) {
    const std::string_view pair = words.word();
    const std::size_t dash = pair.find('-');
    if (dash == std::string_view::npos)
      throw ParseError(0, "a pair such as Zr-O expected, found " + quoted(pair));
    const std::size_t i = place(pair.substr(0, dash)), j = place(pair.substr(dash + 1));
    for (std::vector<double>& table : tables) {
      if (table[i * count + j] >= 0.0)
        throw ParseError(0, "the pair " + quoted(pair) + " appears twice");
      const double value = words.real("a number");
      if (value < 0.0) throw ParseError(0, "a number is negative");
      table[i * count + j] = value;
      if (!ordered) table[j * count + i] = value;
    }
  }
  for (std::size_t i = 0; columns > 0 && i < count; ++i)
    for (std::size_t j = 0; j < count; ++j)
      if (tables[0][i * count + j] < 0.0)
        throw ParseError(0, "the pair " + species[i] + "-" + species[j] + " is missing");
  return tables;
}

/// Highest energies of the species in the training data, from "Zr 1.2 O -0.4".
inline std::vector<double> tagged_summits(std::string_view text,
                                          const std::vector<std::string>& species,
                                          const Scanner& in) {
  const std::string expected =
      "potential_tag: summits: every element with an energy in eV expected";
  Scanner words(text);
  std::vector<double> found;
  try {
    for (const std::string& name : species) {
      const std::string_view word = words.word();
      if (word != name) throw ParseError(0, name + " should follow, not " + quoted(word));
      found.push_back(words.real("an energy"));
    }
    words.skip_space();
    if (!words.at_end()) throw ParseError(0, "found " + words.found() + " after them");
  } catch (const ParseError& error) {
    in.fail(expected + "; " + error.message);
  }
  return found;
}

/// Whether distances follow the names of pairs; otherwise they are numbers alone.
inline bool names_pairs(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  return !text.empty() && text[0] >= 'A' && text[0] <= 'Z';
}

/// From the distances between which the repulsion is switched off: two for all pairs, or two for
/// each.
inline ZBL tagged_repulsion(std::string_view text, const std::vector<std::string>& species,
                            const Scanner& in) {
  const std::string expected =
      "potential_tag: zbl: two distances in Å, 0 < inner < outer, or pairs of elements each with "
      "two, expected";
  if (species.empty())
    in.fail("potential_tag: zbl: needs the elements before it, as in species: Zr; zbl: 0.8 1.8");
  std::vector<std::vector<double>> tables;
  try {
    if (names_pairs(text)) {
      tables = pair_tables(text, species, 2);
    } else {
      Scanner distances(text);
      const std::size_t pairs = species.size() * species.size();
      for (const char* what : {"inner", "outer"}) tables.emplace_back(pairs, distances.real(what));
      distances.skip_space();
      if (!distances.at_end()) throw ParseError(0, "found " + quoted(text));
    }
  } catch (const ParseError& error) {
    in.fail(expected + "; " + error.message);
  }
  std::vector<int> numbers;
  for (const std::string& name : species) {
    numbers.push_back(atomic_number(name));
    if (numbers.back() == 0) in.fail("potential_tag: zbl: no element is called " + quoted(name));
  }
  for (std::size_t k = 0; k < tables[0].size(); ++k)
    if (!(0.0 < tables[0][k] && tables[0][k] < tables[1][k]))
      in.fail(expected + ", found " + quoted(text));
  return {numbers, tables[0], tables[1]};
}

/// One number per pair: the shortest distances, or the largest densities, of the training data.
inline std::vector<double> tagged_numbers(const std::string& key, std::string_view text,
                                          const std::vector<std::string>& species, bool ordered,
                                          const Scanner& in) {
  try {
    return pair_tables(text, species, 1, ordered)[0];
  } catch (const ParseError& error) {
    in.fail("potential_tag: " + key + ": pairs of elements each with a number expected; " +
            error.message);
  }
}

/// Takes the rest of the line that `in` is at.
inline Tag read_tag(Scanner& in) {
  Tag tag;
  std::string_view line = in.rest_of_line();
  if (const auto part = part_of(line, "species:")) tag.species_names = tagged_species(*part, in);
  if (const auto part = part_of(line, "nearest:"))
    tag.nearest = tagged_numbers("nearest", *part, tag.species_names, false, in);
  if (const auto part = part_of(line, "densest:"))
    tag.densest = tagged_numbers("densest", *part, tag.species_names, true, in);
  if (const auto part = part_of(line, "summits:"))
    tag.summits = tagged_summits(*part, tag.species_names, in);
  if (tag.densest.empty() != tag.summits.empty())
    in.fail("potential_tag: densest and summits belong together: one of them is missing");
  if (const auto part = part_of(line, "zbl:")) {
    tag.of_pairs = names_pairs(*part);
    tag.repulsion = tagged_repulsion(*part, tag.species_names, in);
  }
  tag.text = line;
  return tag;
}

}  // namespace pescape::mtp::parsing
