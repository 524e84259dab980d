"""File formats that ASE learns."""

from ase.utils.plugins import ExternalIOFormat

# No extension is claimed: ``.cfg`` is AtomEye's in ASE. Reading recognizes the first line;
# writing takes ``format="mlip-cfg"``.
mlip_cfg_format = ExternalIOFormat(
    desc="MLIP configurations",
    code="+F",
    module="pescape.plugins.io.mlip_cfg",
    magic_regex=rb"\s*BEGIN_CFG",
)

__all__ = ["mlip_cfg_format"]
