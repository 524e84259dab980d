"""Reference energies, forces and stresses, and where they come from."""

from pescape.labelling.evaluation import LabelError, LabelFailure
from pescape.labelling.label import label
from pescape.labelling.reference import LabelPolicy, Reference, ReferenceConfig, reference_from

__all__ = [
    "LabelError",
    "LabelFailure",
    "LabelPolicy",
    "Reference",
    "ReferenceConfig",
    "label",
    "reference_from",
]
