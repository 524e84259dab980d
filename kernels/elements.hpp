// Atomic numbers.
#pragma once

#include <string_view>

namespace pescape {

/// Of the element with this symbol; 0 if there is none.
inline int atomic_number(std::string_view symbol) {
  constexpr std::string_view symbols =
      "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar "
      "K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr "
      "Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe "
      "Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu "
      "Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn "
      "Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr "
      "Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og ";
  int number = 0;
  for (std::size_t start = 0; start < symbols.size();) {
    const std::size_t end = symbols.find(' ', start);
    ++number;
    if (symbols.substr(start, end - start) == symbol) return number;
    start = end + 1;
  }
  return 0;
}

}  // namespace pescape
