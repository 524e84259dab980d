import pytest

from pescape.config import load_config, validate
from pescape.errors import ConfigError
from pescape.learning.config import LearnConfig
from pescape.learning.plan import families_of, stages_of

STAGES = """
[[samplers]]
method = "contour"
name = "walk"

[[stages]]
name = "small"
largest = 8
temperatures = [100]

[[stages]]
name = "none of this size"
largest = 10

[[stages]]
name = "large"
samplers = ["md"]
steps = 50
"""


@pytest.fixture
def config(tmp_path, tiny):
    """Starts of 8 and 16 atoms in three stages."""
    path = tmp_path / "learn.toml"
    path.write_text(
        tiny.replace("repeat = [[2, 2, 1]]", "repeat = [[2, 2, 1], [2, 2, 2]]") + STAGES
    )
    return load_config(path, LearnConfig)


def test_starts_go_into_stages_by_their_numbers_of_atoms(config, tmp_path):
    small, large = stages_of(config, tmp_path)
    assert small.name == "small"
    assert {len(run.start) for run in small.runs} == {8}
    assert {len(run.start) for run in large.runs} == {16}
    assert (small.steps, large.steps) == (300, 50)


def test_samplers_take_turns_at_every_start(config, tmp_path):
    small, large = stages_of(config, tmp_path)
    assert [[run.sampler for run in batch] for batch in small.batches] == [["md"], ["walk"]]
    assert [run.temperature for run in small.runs] == [100.0, 0.0]
    assert [run.temperature for run in large.runs] == [300.0, 1500.0]


def test_batches_bound_how_many_runs_a_fit_waits_for(config, tmp_path):
    md = config.md.model_copy(update={"batch": 1, "temperatures": (1.0, 2.0, 3.0)})
    _, large = stages_of(config.model_copy(update={"md": md}), tmp_path)
    assert [len(batch) for batch in large.batches] == [1, 1, 1]


def test_the_plan_counts_starts_runs_and_atom_steps_by_family(config, tmp_path):
    small, large = families_of(stages_of(config, tmp_path))
    assert (small.stage, small.family, small.starts, small.runs) == ("small", "crystal", 1, 2)
    assert small.atom_steps == 8 * 300  # walks are no MD
    assert (large.starts, large.runs, large.atom_steps) == (1, 2, 2 * 16 * 50)


def test_a_start_larger_than_all_stages_is_named(config, tmp_path):
    stages = tuple(s.model_copy(update={"largest": 12}) for s in config.stages[2:])
    with pytest.raises(ConfigError, match="has 16 atoms, the last stage admits 12"):
        stages_of(config.model_copy(update={"stages": stages}), tmp_path)


def test_md_runs_on_the_cores_that_the_executor_gives_it(config, tmp_path):
    where = {"kind": "executorlib", "cores": {"md": 4}}
    content = config.model_dump(mode="json", exclude={"workers"}) | {"executor": where}
    content["stages"][2]["ranks"] = 2
    small, large = stages_of(validate(content, LearnConfig, "learn.toml"), tmp_path)
    assert (small.ranks, large.ranks) == (4, 2)
    with pytest.raises(ConfigError, match="give workers or the table executor, not both"):
        validate(content | {"workers": 3}, LearnConfig, "learn.toml")


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([{"name": "a"}, {"name": "b"}], "must rise"),
        ([{"name": "a", "largest": 9}, {"name": "b", "largest": 9}], "must rise"),
        ([{"name": "a", "largest": 9}, {"name": "a"}], "two stages are called 'a'"),
        ([{"name": "a", "samplers": ["monte carlo"]}], "no sampler 'monte carlo'; there are md"),
        ([{"name": "a", "larges": 9}], "did you mean 'largest'"),
    ],
)
def test_stages_that_make_no_sense_are_refused(config, stages, message):
    content = config.model_dump(mode="json") | {"stages": stages, "samplers": []}
    with pytest.raises(ConfigError, match=message):
        validate(content, LearnConfig, "learn.toml")
