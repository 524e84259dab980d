"""Properties of planes: surfaces, stacking faults, gamma surfaces."""
