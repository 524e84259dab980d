#include "sha256.hpp"

#include <array>
#include <cmath>
#include <cstdint>

namespace pescape {
namespace {

using Word = std::uint32_t;

/// The first 32 bits of the fractional part of a root of a prime.
Word fraction_bits(long double root) { return Word((root - std::floor(root)) * 4294967296.0L); }

struct Constants {
  std::array<Word, 8> start;   ///< from square roots of the first 8 primes
  std::array<Word, 64> round;  ///< from cube roots of the first 64 primes

  Constants() {
    int found = 0;
    for (int n = 2; found < 64; ++n) {
      bool prime = true;
      for (int d = 2; d * d <= n; ++d) prime = prime && n % d != 0;
      if (!prime) continue;
      if (found < 8) start[found] = fraction_bits(std::sqrt((long double)n));
      round[found++] = fraction_bits(std::cbrt((long double)n));
    }
  }
};

Word rotate(Word x, int n) { return (x >> n) | (x << (32 - n)); }

void digest_block(const unsigned char* block, const Constants& constants,
                  std::array<Word, 8>& state) {
  std::array<Word, 64> w;
  for (int t = 0; t < 16; ++t)
    w[t] = Word(block[4 * t]) << 24 | Word(block[4 * t + 1]) << 16 | Word(block[4 * t + 2]) << 8 |
           Word(block[4 * t + 3]);
  for (int t = 16; t < 64; ++t) {
    const Word s0 = rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ (w[t - 15] >> 3);
    const Word s1 = rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ (w[t - 2] >> 10);
    w[t] = w[t - 16] + s0 + w[t - 7] + s1;
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (int t = 0; t < 64; ++t) {
    const Word s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const Word t1 = h + s1 + ((e & f) ^ (~e & g)) + constants.round[t] + w[t];
    const Word s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const Word t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  const std::array<Word, 8> change = {a, b, c, d, e, f, g, h};
  for (int k = 0; k < 8; ++k) state[k] += change[k];
}

}  // namespace

std::string sha256(std::string_view bytes) {
  const Constants constants;
  std::array<Word, 8> state = constants.start;
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  const std::size_t whole = bytes.size() / 64;
  for (std::size_t k = 0; k < whole; ++k) digest_block(data + 64 * k, constants, state);

  std::string tail(bytes.substr(64 * whole));
  tail.push_back('\x80');
  while (tail.size() % 64 != 56) tail.push_back('\0');
  const std::uint64_t bits = std::uint64_t(bytes.size()) * 8;
  for (int shift = 56; shift >= 0; shift -= 8) tail.push_back(char(bits >> shift & 0xff));
  for (std::size_t k = 0; k < tail.size(); k += 64)
    digest_block(reinterpret_cast<const unsigned char*>(tail.data()) + k, constants, state);

  std::string hex;
  for (Word word : state)
    for (int shift = 28; shift >= 0; shift -= 4)
      hex.push_back("0123456789abcdef"[word >> shift & 15]);
  return hex;
}

}  // namespace pescape
