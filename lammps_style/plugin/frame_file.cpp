#include "frame_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

namespace pescape {
namespace {

std::string system_error() { return std::strerror(errno); }

/// A file descriptor that is closed at the end of its scope.
class Descriptor {
 public:
  Descriptor(const std::string& path, int flags) : number_(open(path.c_str(), flags, 0666)) {}
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator int() const { return number_; }

 private:
  int number_;
};

bool write_at(int file, const std::string& text, off_t position) {
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = pwrite(file, text.data() + done, text.size() - done, position + off_t(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    done += std::size_t(n);
  }
  return true;
}

/// Where the last whole frame ends.
std::size_t end_of_frames(const std::string& text) {
  std::size_t end = 0;
  while (end < text.size()) {
    char* rest = nullptr;
    const long atoms = std::strtol(text.c_str() + end, &rest, 10);
    const std::size_t first_line = text.find('\n', end);
    if (first_line == std::string::npos || rest > text.c_str() + first_line ||
        rest == text.c_str() + end || atoms < 0)
      break;
    std::size_t next = first_line + 1;
    for (long line = 0; line < atoms + 1 && next != std::string::npos; ++line) {
      next = text.find('\n', next);
      if (next != std::string::npos) ++next;
    }
    if (next == std::string::npos) break;
    end = next;
  }
  return end;
}

void sync_folder(const std::string& path) {
  const auto slash = path.rfind('/');
  const Descriptor folder(slash == std::string::npos ? "." : path.substr(0, slash + 1),
                          O_RDONLY | O_DIRECTORY);
  if (folder >= 0) fsync(folder);
}

}  // namespace

std::string FrameFile::start(bool append) {
  off_t end = 0;
  {
    const Descriptor file(path_, O_WRONLY | O_CREAT | O_CLOEXEC);
    if (file < 0) return system_error();
    if (append) {
      std::ifstream stream(path_, std::ios::binary);
      const std::string text{std::istreambuf_iterator<char>(stream), {}};
      end = off_t(end_of_frames(text));
      if (end == 0 && text.find_first_not_of(" \n") != std::string::npos &&
          text.find_first_not_of(" ") != text.find('\n'))
        return "it holds something else than XYZ frames, so nothing can be appended";
      if (end > 0 && ftruncate(file, end) != 0) return system_error();
    }
  }
  if (end == 0 && unlink(path_.c_str()) != 0) return system_error();
  return "";
}

std::string FrameFile::add(const std::string& frame) {
  const std::size_t digits = frame.find('\n');
  const Descriptor file(path_, O_WRONLY | O_CREAT | O_CLOEXEC);
  if (file < 0) return system_error();
  struct stat before;
  if (fstat(file, &before) != 0) return system_error();
  const std::string hidden = std::string(digits, ' ') + frame.substr(digits);
  if (write_at(file, hidden, before.st_size) && fsync(file) == 0 &&
      write_at(file, frame.substr(0, digits), before.st_size) && fsync(file) == 0) {
    if (before.st_size == 0) sync_folder(path_);
    return "";
  }
  const std::string problem = system_error();
  if (ftruncate(file, before.st_size) != 0)
    return problem + "; the file may end in a partial frame";
  return problem;
}

}  // namespace pescape
