"""Properties of perfect crystals: lattices, equations of state, elasticity, phonons."""
