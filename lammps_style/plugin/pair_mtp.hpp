// pair_style mtp [precision double|single]
#pragma once

#include "pair_potential.hpp"

namespace pescape {

class PairMTP : public PairPotential {
 public:
  using PairPotential::PairPotential;

  void settings(int narg, char** arg) override;
  void write_restart_settings(FILE* file) override;
  void read_restart_settings(FILE* file) override;

  const char* style_name() const override { return "mtp"; }

 protected:
  Potential parse(const std::string& name, const std::string& bytes) const override;
  std::string about_folder(const std::string& name) const override;

 private:
  bool single_precision_ = false;
};

}  // namespace pescape
