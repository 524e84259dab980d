"""What fits of all potentials share: labelled data, the loss, errors, a minimiser."""
