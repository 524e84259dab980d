"""The methods of a saddle search by name: their settings and engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pescape.plugins.dynamics.ritz import RitzEngine, RitzSettings
from pescape.plugins.dynamics.vtst import VtstEngine, VtstSettings

if TYPE_CHECKING:
    import numpy as np

    from pescape.plugins.dynamics.engine import Engine

Method = Literal["ritz", "vtst"]


def engine_for(
    settings: RitzSettings | VtstSettings, mode: np.ndarray, owners: np.ndarray
) -> Engine:
    """Return the engine that the settings belong to, with its first mode, (n,)."""
    if isinstance(settings, RitzSettings):
        return RitzEngine(settings, mode, owners)
    return VtstEngine(settings, mode, owners)


def settings_for(
    method: str, settings: RitzSettings | VtstSettings | None, separation: float
) -> RitzSettings | VtstSettings:
    """Return settings that fit the method."""
    classes = {"ritz": RitzSettings, "vtst": VtstSettings}
    if method not in classes:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(classes)}")
    if not separation > 0:
        raise ValueError(f"separation is {separation}; expected a positive length in Å")
    if settings is None:
        return RitzSettings() if method == "ritz" else VtstSettings(separation=separation)
    if not isinstance(settings, classes[method]):
        raise TypeError(
            f"settings of method {method!r} are a {classes[method].__name__}, "
            f"not a {type(settings).__name__}"
        )
    return settings
