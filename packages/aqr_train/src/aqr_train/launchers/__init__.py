"""Files for `accelerate launch --config_file` and a Slurm script, one per kind of machine (docs/launch.md)."""

from __future__ import annotations

from pathlib import Path

from aqr_core.errors import ConfigError
from aqr_core.registry import suggest

FOLDER = Path(__file__).parent


def launchers() -> dict[str, Path]:
    """Name without ending to file, in alphabetical order."""
    return {path.stem: path for path in sorted(FOLDER.iterdir()) if path.suffix in (".yaml", ".sbatch")}


def find_launcher(name: str) -> Path:
    """The shipped file of this name.

    Raises:
        ConfigError: there is none.
    """
    known = launchers()
    if name not in known:
        raise ConfigError(f"No launcher is called '{name}'.{suggest(name, list(known))}")
    return known[name]
