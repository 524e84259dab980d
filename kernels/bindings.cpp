// The Python face of the kernels; nothing below this file knows Python.
#include <nanobind/nanobind.h>

NB_MODULE(_kernels, m) { m.doc() = "Compiled kernels of pescape."; }
