// pair_style bpnn
#pragma once

#include "pair_potential.hpp"

namespace pescape {

class PairBPNN : public PairPotential {
 public:
  using PairPotential::PairPotential;

  void settings(int narg, char** arg) override;

  const char* style_name() const override { return "bpnn"; }

 protected:
  Potential parse(const std::string& name, const std::string& bytes) const override;
  std::string about_folder(const std::string& name) const override;
};

}  // namespace pescape
