// Lists in braces, as MTP files hold them: {{1, 2}, {3, 4}}.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "scanner.hpp"

namespace pescape::mtp::parsing {

/// Reads "{e, e, ...}" through read_one(index); returns the number of elements.
template <class F>
std::size_t braced_list(Scanner& in, const char* what, F&& read_one) {
  in.expect('{', what);
  std::size_t count = 0;
  if (in.accept('}')) return count;
  for (;;) {
    read_one(count++);
    if (in.accept('}')) return count;
    in.expect(',', what);
  }
}

inline std::vector<double> braced_reals(Scanner& in, const char* what, std::size_t expected) {
  std::vector<double> values;
  const std::size_t count = braced_list(in, what, [&](std::size_t k) {
    if (k == expected)
      in.fail(std::string(what) + " holds more than the " + std::to_string(expected) +
              " numbers expected");
    values.push_back(in.real(what));
  });
  if (count != expected)
    in.fail(std::string(what) + " holds " + std::to_string(count) + " numbers, " +
            std::to_string(expected) + " expected");
  return values;
}

template <int width>
std::array<int, width> braced_integers(Scanner& in, const char* what) {
  std::array<int, width> row{};
  const std::size_t count = braced_list(in, what, [&](std::size_t k) {
    if (k == width)
      in.fail(std::string(what) + ": each entry has " + std::to_string(width) + " numbers");
    row[k] = in.integer(what, INT32_MIN + 1, INT32_MAX);
  });
  if (count != width)
    in.fail(std::string(what) + ": each entry has " + std::to_string(width) + " numbers");
  return row;
}

}  // namespace pescape::mtp::parsing
