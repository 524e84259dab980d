"""Properties by molecular dynamics: thermal expansion, displacements, melting."""
