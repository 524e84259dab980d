// A file of XYZ frames that never shows a frame that is not whole.
#pragma once

#include <string>

namespace pescape {

/// Writes frames so that a kill at any moment leaves whole frames only: a frame's first line, the
/// number of atoms, is blank until everything after it is on the disk. Readers stop at the blank
/// line, and opening the file again to append cuts off what follows it.
class FrameFile {
 public:
  explicit FrameFile(std::string path) : path_(std::move(path)) {}

  const std::string& path() const { return path_; }

  /// Checks that the file can be written; without `append` removes what is there.
  /// Returns what is wrong, or "".
  std::string start(bool append);

  /// Adds a frame and waits until the disk has it. Returns what is wrong, or ""; then the file is
  /// as it was before.
  std::string add(const std::string& frame);

 private:
  std::string path_;
};

}  // namespace pescape
