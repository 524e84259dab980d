"""What fits of all potentials share: labeled data, the loss, errors, a minimizer."""
