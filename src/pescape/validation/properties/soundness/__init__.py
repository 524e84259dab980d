"""Checks that any potential has to pass: invariances, derivatives, energy conservation, cost."""
