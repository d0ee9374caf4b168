"""`aqr estimate`: memory of each process and bytes per step of a training run, before it is made."""

from __future__ import annotations

import argparse
import json

from rich.console import Console

from aqr_train.settings import PRECISIONS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("config", metavar="CONFIG", help="path of a config, or name of a shipped one")
    parser.add_argument("--gpus", type=int, default=1, metavar="N", help="processes, one per GPU")
    parser.add_argument("--zero", type=int, default=0, metavar="S", help="stage of ZeRO: 1, 2 or 3; 0 is DDP")
    parser.add_argument("--fsdp", action="store_true", help="FSDP2")
    parser.add_argument("--offload", action="store_true", help="ZeRO: the optimiser in the memory of the host")
    parser.add_argument("--precision", choices=PRECISIONS, help="replaces train.precision")
    parser.add_argument("--batch-size", type=int, metavar="B", help="replaces data.batch_size")
    parser.add_argument("--accumulate", type=int, metavar="A", help="replaces train.accumulate")
    parser.add_argument("--no-activations", action="store_true", help="formulas alone: no forward pass is run")
    parser.add_argument("--intra", type=float, default=25.0, help="GB/s that a GPU sends within a node; by default 25")
    parser.add_argument("--inter", type=float, default=12.5, help="GB/s between nodes of 8; by default 12.5")
    parser.add_argument("--compute-s", type=float, metavar="S", help="time of an update without exchange, if known")
    parser.add_argument("--json", action="store_true", help="for machines: bytes and seconds")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="a.b=c", help="change the config")


def run(arguments: argparse.Namespace) -> int:
    """Estimate and print."""
    from aqr_core.config import load_config
    from aqr_core.errors import ConfigError
    from aqr_train.estimate.run import estimate

    if arguments.gpus < 1:
        raise ConfigError(f"--gpus is {arguments.gpus}; give a whole number from 1.")
    for name in ("intra", "inter", "compute_s"):
        value = getattr(arguments, name)
        if value is not None and not value > 0:
            raise ConfigError(f"--{name.replace('_', '-')} is {value:g}; it must be above 0.")
    replaced = {
        "train.precision": arguments.precision,
        "data.batch_size": arguments.batch_size,
        "train.accumulate": arguments.accumulate,
    }
    overrides = [*arguments.cfg_options, *(f"{key}={value}" for key, value in replaced.items() if value is not None)]
    found = estimate(
        load_config(arguments.config, overrides),
        name=" ".join([arguments.config, *overrides]),
        world_size=arguments.gpus,
        stage=arguments.zero,
        fsdp=arguments.fsdp,
        offload=arguments.offload,
        with_activations=not arguments.no_activations,
        bandwidth=(1e9 * arguments.intra, 1e9 * arguments.inter),
        compute_s=arguments.compute_s,
    )
    console = Console()
    if arguments.json:
        console.print(json.dumps(found.record(), indent=2), highlight=False, markup=False, soft_wrap=True)
        return 0
    for grid in found.tables():
        console.print(grid.rich())
    return 0
