// Takes the text of a potential file apart into words and numbers.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

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

}  // namespace pescape
