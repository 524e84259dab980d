from pescape.learning.health import CHECK_FIGURE, CHECK_FILE, checked
from pescape.validation.check import CheckSettings


def test_the_last_potential_is_checked_once(potential, tmp_path):
    seen = []
    training = None  # its active set
    few = CheckSettings(packings=1, steps=5)
    report = checked(potential, training, tmp_path, lambda what, *_: seen.append(what), few)
    assert report.verdicts
    assert (tmp_path / CHECK_FIGURE).exists()
    assert "smoothness" in seen
    seen.clear()
    again = checked(potential, training, tmp_path, lambda what, *_: seen.append(what))
    assert not seen
    assert again.to_json() == report.to_json()
    (tmp_path / CHECK_FILE).write_text("{}")
    assert checked(potential, training, tmp_path, settings=few).identity == report.identity
