"""Energies along a given path, such as one that a band of another calculator has found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError
from pydantic import Field, ValidationInfo, model_validator

from pescape.data.configurations import read_configurations
from pescape.errors import DataError
from pescape.files import fingerprint
from pescape.validation.properties.paths.bands import path_of
from pescape.validation.property import (
    Curve,
    Floats,
    PropertyConfig,
    PropertyError,
    PropertyResult,
    Value,
    register_property,
    snapshot,
)

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator


class PathEnergiesConfig(PropertyConfig):
    """A path in a file, whose images are evaluated as they are."""

    kind: Literal["path_energies"] = "path_energies"
    file: str = Field(
        exclude=True,
        description="all images in order: extxyz, a trajectory, …; beside the configuration file",
    )
    digest: str = Field(description="fingerprint of the file, which is read from it")
    labelled: bool = Field(description="whether the images have energies, which is read from it")

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 (as pydantic has it)
        if not isinstance(given, dict) or not isinstance(given.get("file"), str):
            return given
        folder = (info.context or {}).get("folder", Path())
        path = (folder / given["file"]).resolve()
        try:
            images = _images_of(path)
        except DataError as error:
            raise ValueError(str(error)) from error
        labelled = _energies(images) is not None
        return {**given, "file": str(path), "digest": _digest(path), "labelled": labelled}

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        own = ("barrier", "reverse", "minima")
        return (*own, "barrier_difference", "rms_difference") if self.labelled else own


@register_property(PathEnergiesConfig, heading="Energies along given paths")
def path_energies(calculator: BaseCalculator, config: PathEnergiesConfig) -> PropertyResult:
    """Evaluate the images of a path as they are.

    Parameters
    ----------
    calculator
        Any.
    config
        The path.

    Returns
    -------
    PropertyResult
        eV: ``barrier`` and ``reverse``, the height of the highest image above the first and the
        last; ``minima``, images between the ends that are lower than both neighbors. Where the
        file has energies, ``barrier_difference`` and ``rms_difference`` (all images but the first,
        from which both curves are counted) from those.
    """
    path = Path(config.file)
    if _digest(path) != config.digest:
        raise PropertyError(f"{path} has changed meanwhile: start again")
    given = _images_of(path)
    images = []
    for index, image in enumerate(given):
        atoms = image.copy()
        atoms.set_constraint()
        atoms.calc = calculator
        images.append(snapshot(atoms, f"image_{index}"))
    found = path_of(images)
    values = {
        "barrier": Value(found.barrier, "eV"),
        "reverse": Value(found.reverse, "eV"),
        "minima": Value(float(found.minima)),
    }
    curves = {"path": found.curve}
    known = _energies(given)
    if known is not None:
        known = known - known[0]
        difference = found.curve.y - known
        values["barrier_difference"] = Value(found.barrier - float(known.max()), "eV")
        rms = float(np.sqrt((difference[1:] ** 2).mean()))
        values["rms_difference"] = Value(rms, "eV")
        curves["given"] = Curve(found.curve.x, known, found.curve.x_label, found.curve.y_label)
    return config.result(values, curves=curves, structures=images)


def _images_of(path: Path) -> list[Atoms]:
    """Read the images of a path, refusing those that have other atoms or another order."""
    images = read_configurations(path)
    if len(images) < 3:
        raise DataError(f"{path} holds {len(images)} structures: a path has three images or more")
    for index, image in enumerate(images):
        if list(image.numbers) != list(images[0].numbers):
            raise DataError(
                f"{path}: image {index} has other atoms than image 0, or has them in another order"
            )
    return images


def _energies(images: list[Atoms]) -> Floats | None:
    """Give the energies (eV) that the file has, if all images have one; shape (images,)."""
    try:
        return np.array([image.get_potential_energy() for image in images], dtype=float)
    except (RuntimeError, PropertyNotImplementedError):
        return None


def _digest(path: Path) -> str:
    return fingerprint(path.read_bytes())
