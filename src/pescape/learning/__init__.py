"""Active learning: molecular dynamics under guard, labels, refits, until nothing is risky."""
