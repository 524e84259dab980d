"""A campaign's fits have the repulsion that its configuration asks for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pescape.calculators.zbl import ZBL
from pescape.config import load_config
from pescape.errors import ConfigError
from pescape.fits.config import FitConfig
from pescape.learning.config import LearnConfig


def config(folder, tiny, zbl):
    path = folder / "learn.toml"
    path.write_text(tiny.replace("[fit]", f"[fit]\nzbl = {zbl}"))
    return load_config(path, LearnConfig)


def test_new_continued_and_raised_fits_have_the_repulsion(tmp_path, tiny):
    learn = config(tmp_path, tiny, "[0.8, 2.0]")
    start = learn.potential.start(2, learn.fit)
    first = start.potential(seed=0)
    assert first.repulsion == ZBL(0.8, 2.0)
    first.randomized(seed=0).with_repulsion(None).write(tmp_path / "bare.mtp")
    for level in (2, 4):
        later = replace(start, level=level, path=str(tmp_path / "bare.mtp"))
        assert later.potential(seed=0).repulsion == ZBL(0.8, 2.0)
    assert learn.potential.start(2, FitConfig()).potential(seed=0).repulsion is None


@pytest.mark.parametrize(
    ("zbl", "message"),
    [
        ("[2.0, 0.8]", "fit.zbl: zbl: inner 2 Å and outer 0.8 Å: 0 < inner < outer must hold"),
        ("[0.8, 5.5]", "fit.zbl ends at 5.5 Å, beyond potential.cutoff = 5 Å"),
        ("[0.8]", "fit.zbl"),
    ],
)
def test_distances_that_make_no_sense_are_named(tmp_path, tiny, zbl, message):
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, tiny, zbl)
    assert message in str(caught.value)
