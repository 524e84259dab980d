"""Properties that a potential is judged by, predicates about them, and what runs them."""

from pescape.validation.predicates import Predicate
from pescape.validation.property import Curve, PropertyError, PropertyResult, Value
from pescape.validation.registry import PROPERTIES, AnyProperty, Property, known_values
from pescape.validation.runner import Outcome, property_task, run_properties
from pescape.validation.sources import CalculatorSource, PotentialFile

__all__ = [
    "PROPERTIES",
    "AnyProperty",
    "CalculatorSource",
    "Curve",
    "Outcome",
    "PotentialFile",
    "Predicate",
    "Property",
    "PropertyError",
    "PropertyResult",
    "Value",
    "known_values",
    "property_task",
    "run_properties",
]
