"""R2*, T2* and S0 maps."""

from dataclasses import dataclass

from qsmbids.methods.declaration import Clause, setting

__all__ = ["SENTENCES", "Relaxometry"]


@dataclass(frozen=True)
class Relaxometry:
    """R2*, T2* and S0 maps."""

    method: str = setting(
        "auto",
        "R2* fit",
        doc="auto takes ARLO for three or more evenly spaced echoes, else a log-linear fit.",
        choices=("auto", "arlo", "loglinear"),
        echoes=2,
        sidecar="R2StarFit.Setting",
    )


_PLANNED = {"run.planned": True}

SENTENCES = (
    Clause(
        "R2* was mapped by ARLO [@pei2015] for three or more evenly spaced echoes, else by a"
        " log-linear fit.",
        {"method": "auto", **_PLANNED},
    ),
    Clause("R2* was mapped by ARLO [@pei2015].", {"run.r2star": "arlo"}),
    Clause("R2* was mapped by a log-linear fit.", {"run.r2star": "loglinear"}),
    Clause("R2* was mapped by ARLO [@pei2015].", {"method": "arlo", **_PLANNED}),
    Clause("R2* was mapped by a log-linear fit.", {"method": "loglinear", **_PLANNED}),
)
