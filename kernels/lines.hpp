// Takes the text of a file apart into lines of words.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "scanner.hpp"

namespace pescape {

/// The lines of a file as words, without comments and blank lines.
class Lines {
 public:
  using Words = std::vector<std::string_view>;

  explicit Lines(std::string_view text) : text_(text) {}

  /// Number of the line taken last.
  std::size_t line() const { return std::max<std::size_t>(line_, 1); }

  [[noreturn]] void fail(const std::string& message) const { throw ParseError(line(), message); }

  /// The words of the next line; none at the end of the file. The line is not left behind.
  const Words& peek() {
    while (words_.empty() && at_ < text_.size()) {
      const std::string_view line = next_line();
      split(line.substr(0, line.find('#')));
    }
    return words_;
  }

  Words take(const std::string& expected) {
    if (peek().empty()) fail("the file ends, but " + expected + " should follow");
    return std::exchange(words_, {});
  }

  /// What follows a keyword on the next line, which must begin with it.
  Words keyword(const std::string& keyword) {
    Words words = take("'" + keyword + "'");
    if (words[0] != keyword) fail("'" + keyword + "' expected, found " + quoted(words[0]));
    words.erase(words.begin());
    return words;
  }

  Words keyword(const std::string& keyword, std::size_t count) {
    Words words = this->keyword(keyword);
    if (words.size() != count)
      fail(std::to_string(count) + " values expected after '" + keyword + "', found " +
           std::to_string(words.size()));
    return words;
  }

  double real(std::string_view word, const std::string& what) const {
    const auto value = number_from<double>(word);
    if (!value) fail(what + " must be a number, not " + quoted(word));
    if (!std::isfinite(*value)) fail(what + " must be a finite number, not " + std::string(word));
    return *value;
  }

  int integer(std::string_view word, const std::string& what, int low, int high) const {
    const auto value = number_from<int>(word);
    if (!value || *value < low || *value > high)
      fail(what + " must be a whole number from " + std::to_string(low) + " to " +
           std::to_string(high) + ", not " + quoted(word));
    return *value;
  }

  /// The numbers of the next lines, row by row.
  std::vector<double> table(std::size_t rows, std::size_t columns, const std::string& what) {
    std::vector<double> values;
    for (std::size_t r = 1; r <= rows; ++r) {
      const Words words =
          take("row " + std::to_string(r) + " of " + std::to_string(rows) + " of " + what);
      if (words.size() != columns)
        fail(std::to_string(columns) + " numbers expected for " + what + ", found " +
             std::to_string(words.size()));
      for (const std::string_view word : words) values.push_back(real(word, what));
    }
    return values;
  }

  /// Where the next line begins, in bytes.
  std::size_t position() const { return std::min(at_, text_.size()); }

  /// Passes over lines of another format, comments and all.
  void skip(std::size_t count, const std::string& what) {
    for (std::size_t n = 0; n < count; ++n) {
      if (at_ >= text_.size())
        fail("the file ends, but " + std::to_string(count - n) + " lines of " + what +
             " should follow");
      next_line();
    }
  }

 private:
  std::string_view next_line() {
    const std::size_t end = std::min(text_.find('\n', at_), text_.size());
    const std::string_view line = text_.substr(at_, end - at_);
    at_ = end + 1;
    ++line_;
    return line;
  }

  void split(std::string_view line) {
    constexpr std::string_view space = " \t\r\v\f";
    for (;;) {
      line.remove_prefix(std::min(line.find_first_not_of(space), line.size()));
      if (line.empty()) return;
      const std::size_t end = std::min(line.find_first_of(space), line.size());
      words_.push_back(line.substr(0, end));
      line.remove_prefix(end);
    }
  }

  std::string_view text_;
  std::size_t at_ = 0, line_ = 0;
  Words words_;  ///< of the line looked at and not yet taken
};

}  // namespace pescape
