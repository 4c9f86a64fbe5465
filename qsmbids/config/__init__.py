"""Settings: explicit, frozen, and merged as default < preset < TOML file < command line.

No module keeps settings of its own: they are passed down to the graph builders, and each step
gets only the values that it uses, so that changing one re-runs exactly what depends on it.
"""

from qsmbids.config.files import (
    DEFAULT_PRESET,
    PRESETS,
    dump_toml,
    flattened,
    load_settings,
    nested,
)
from qsmbids.config.settings import Settings

__all__ = [
    "DEFAULT_PRESET",
    "PRESETS",
    "Settings",
    "dump_toml",
    "flattened",
    "load_settings",
    "nested",
]
