// Takes the text of a potential file apart: word by word (MTP files), line by line (BPNN files),
// and lists in braces, as MTP files hold them: {{1, 2}, {3, 4}}.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace pescape {

/// What is wrong with a file, and in which line; what() is "line N: ...".
struct ParseError : std::runtime_error {
  ParseError(std::size_t at, const std::string& text)
      : std::runtime_error("line " + std::to_string(at) + ": " + text), line(at), message(text) {}
  std::size_t line;
  std::string message;
};

/// What a message shows of a word.
inline std::string quoted(std::string_view token) {
  if (token.empty()) return "nothing";
  std::string clean;
  for (char c : token.substr(0, 40)) clean += c >= ' ' && c <= '~' ? c : '?';
  return "'" + clean + (token.size() > 40 ? "...'" : "'");
}

/// The number that the whole word is; nothing if it is none.
template <class Number>
std::optional<Number> number_from(std::string_view token) {
  if (std::is_floating_point_v<Number> && token.substr(0, 1) == "+") token.remove_prefix(1);
  Number value{};
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), value);
  if (error != std::errc() || end != token.data() + token.size() || token.empty()) return {};
  return value;
}

/// A position in the file that counts lines and takes numbers and words apart.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  std::size_t line() const { return line_; }
  std::size_t position() const { return at_; }
  bool at_end() const { return at_ == text_.size(); }

  [[noreturn]] void fail(const std::string& message) const { throw ParseError(line_, message); }

  /// Skips spaces; across lines unless told otherwise.
  void skip_space(bool lines = true) {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '\n' && !lines) return;
      if (c != ' ' && c != '\t' && c != '\r' && c != '\n') return;
      if (c == '\n') ++line_;
      ++at_;
    }
  }

  bool accept(char c) {
    skip_space();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  void expect(char c, const char* where) {
    if (accept(c)) return;
    fail(std::string("'") + c + "' expected in " + where + ", found " + found());
  }

  /// A run of characters up to a space, a comma, a brace, '=' or the end; may be empty.
  std::string_view word() {
    skip_space();
    const std::size_t start = at_;
    while (at_ < text_.size() && !is_delimiter(text_[at_])) ++at_;
    return text_.substr(start, at_ - start);
  }

  /// The rest of the line without the spaces around it.
  std::string_view rest_of_line() {
    skip_space(false);
    const std::size_t start = at_;
    while (at_ < text_.size() && text_[at_] != '\n') ++at_;
    std::size_t end = at_;
    while (end > start && is_space(text_[end - 1])) --end;
    return text_.substr(start, end - start);
  }

  int integer(const char* what, int low, int high) {
    const std::string_view token = word();
    const auto number = number_from<int>(token);
    if (!number) fail(std::string(what) + ": a whole number expected, found " + quoted(token));
    const int value = *number;
    if (value < low || value > high)
      fail(std::string(what) + " is " + std::to_string(value) + ", outside " + std::to_string(low) +
           " .. " + std::to_string(high));
    return value;
  }

  double real(const char* what) {
    const std::string_view token = word();
    const auto value = number_from<double>(token);
    if (!value) fail(std::string(what) + ": a number expected, found " + quoted(token));
    if (!std::isfinite(*value))
      fail(std::string(what) + ": " + std::string(token) + " is not a finite number");
    return *value;
  }

  /// Raw bytes; counts the line ends among them as an editor would.
  std::string_view bytes(std::size_t count, const char* what) {
    if (text_.size() - at_ < count)
      fail(std::string("the file ends within ") + what + ": " + std::to_string(count) +
           " bytes expected, " + std::to_string(text_.size() - at_) + " left");
    const std::string_view block = text_.substr(at_, count);
    line_ += std::size_t(std::count(block.begin(), block.end(), '\n'));
    at_ += count;
    return block;
  }

  std::string found() {
    skip_space();
    if (at_end()) return "the end of the file";
    Scanner ahead(*this);
    const std::string_view next = ahead.word();
    return quoted(next.empty() ? text_.substr(at_, 1) : next);
  }

 private:
  static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
  static bool is_delimiter(char c) {
    return is_space(c) || c == ',' || c == '{' || c == '}' || c == '=';
  }

  std::string_view text_;
  std::size_t at_ = 0, line_ = 1;
};

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

}  // namespace pescape
