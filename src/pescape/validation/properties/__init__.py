"""What potentials are judged by: one module for each kind of property, and what they share."""
