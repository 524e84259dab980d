"""What potentials are worth: their errors on each other's test sets."""
