// Registers pescape's styles with LAMMPS.
#include "fix_extrapolation.hpp"
#include "pair_bpnn.hpp"
#include "pair_mtp.hpp"
#include "plugin_abi.hpp"

namespace {

template <class Style>
void* new_pair(void* lmp) {
  return new Style(static_cast<LAMMPS_NS::LAMMPS*>(lmp));
}

void* new_fix_extrapolation(void* lmp, int narg, char** arg) {
  return new pescape::FixExtrapolation(static_cast<LAMMPS_NS::LAMMPS*>(lmp), narg, arg);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) void pescape_register_styles(void* lmp,
                                                                               void* handle,
                                                                               void* regfunc) {
  const auto add = reinterpret_cast<lammpsplugin_regfunc>(regfunc);
  lammpsplugin_t plugin;
  plugin.version = static_cast<LAMMPS_NS::LAMMPS*>(lmp)->version;  // the loader compared it
  plugin.author = "the pescape developers";
  plugin.handle = handle;

  plugin.style = "pair";
  plugin.name = "mtp";
  plugin.info = "pescape " PESCAPE_VERSION ": moment tensor potentials";
  plugin.creator.v1 = &new_pair<pescape::PairMTP>;
  add(&plugin, lmp);

  plugin.name = "bpnn";
  plugin.info = "pescape " PESCAPE_VERSION ": Behler-Parrinello networks";
  plugin.creator.v1 = &new_pair<pescape::PairBPNN>;
  add(&plugin, lmp);

  plugin.style = "fix";
  plugin.name = "extrapolation";
  plugin.info = "pescape " PESCAPE_VERSION ": a guard on extrapolation grades";
  plugin.creator.v2 = &new_fix_extrapolation;
  add(&plugin, lmp);
}
