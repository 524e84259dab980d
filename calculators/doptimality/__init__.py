"""D-optimality: active sets of maximal volume, and the extrapolation grades they give."""
