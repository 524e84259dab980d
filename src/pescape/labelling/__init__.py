"""Reference energies, forces and stresses, and where they come from."""

from pescape.labelling.label import configuration_id, label
from pescape.labelling.reference import Reference, ReferenceConfig, reference_from

__all__ = ["Reference", "ReferenceConfig", "configuration_id", "label", "reference_from"]
