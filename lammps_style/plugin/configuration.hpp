// One configuration of the whole system, free of LAMMPS.
#pragma once

#include <string>
#include <vector>

namespace pescape {

struct AtomRecord {
  long long id;
  int type;            ///< 1 ... ntypes
  double position[3];  ///< Å, within the cell along periodic directions
  double velocity[3];  ///< Å/ps
  double mass;         ///< g/mol
  double grade;        ///< extrapolation grade
};

struct Configuration {
  std::vector<AtomRecord> atoms;  ///< by rising id
  double cell[3][3];              ///< Å, one vector per row
  double origin[3];               ///< Å, the cell's corner; positions are relative to it
  bool periodic[3];
};

}  // namespace pescape
