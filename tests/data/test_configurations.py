"""Reading and writing configurations."""

from ase.build import bulk

from pescape.data.configurations import read_configurations, write_configurations


def test_an_empty_entry_does_not_swallow_the_next_one(tmp_path):
    atoms = bulk("Cu")
    atoms.info = {"parent": "", "sampler": "md", "tag": ""}
    write_configurations(tmp_path / "cu.xyz", [atoms])
    (read,) = read_configurations(tmp_path / "cu.xyz")
    assert read.info["sampler"] == "md"
    assert "parent" not in read.info
    assert atoms.info["parent"] == ""
