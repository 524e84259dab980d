"""Properties that a potential is judged by, predicates about them, and what runs them."""

from pescape.validation.predicates import Predicate
from pescape.validation.properties import AnyProperty
from pescape.validation.property import (
    PROPERTIES,
    Curve,
    Property,
    PropertyError,
    PropertyResult,
    Value,
    known_values,
)
from pescape.validation.runner import PropertyOutcome, property_task, run_properties
from pescape.validation.sources import CalculatorSource, PotentialFile

__all__ = [
    "PROPERTIES",
    "AnyProperty",
    "CalculatorSource",
    "Curve",
    "PotentialFile",
    "Predicate",
    "Property",
    "PropertyError",
    "PropertyOutcome",
    "PropertyResult",
    "Value",
    "known_values",
    "property_task",
    "run_properties",
]
