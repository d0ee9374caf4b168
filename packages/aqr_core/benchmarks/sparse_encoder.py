"""CPU time of the sparse encoder of the 0.1 m config and of the voxeliser, as ratios and as share of what is possible.

    OMP_NUM_THREADS=1 python packages/aqr_core/benchmarks/sparse_encoder.py [--points CLOUD.npy] [--repeats 3]

The cloud is a .npy of (P, 5) float32, or ten made-up sweeps of a 32-beam LiDAR among walls. The floor is the arithmetic
alone, the multiplications of occupied pairs at the rate of a large matrix product of the same process. Both backends
take turns, the least of the repeats counts. CPU time is what a shared machine distorts least.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from aqr_core.models.voxel import HardSimpleVFE, HardVoxelize, SparseEncoder
from aqr_core.models.voxel.rulebook import Sites, strided_rulebook, submanifold_rulebook
from aqr_core.models.voxel.sparse_conv import SparseConvolution
from aqr_core.models.voxel.sparse_tensor import PairFinder, SparseTensor, batch_coords
from aqr_core.models.voxel.spconv_pairs import strided_pairs, submanifold_pairs

SHAPE = (41, 1024, 1024)
STAGES = ((1, 1, 1), (1, 1, 1), (0, 1, 1))  # padding of the stride-2 convolution that ends each
FINDERS = {
    "torch": PairFinder(submanifold_rulebook, strided_rulebook),
    "spconv": PairFinder(submanifold_pairs, strided_pairs),
}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=Path, help="a .npy of (P, 5) float32; by default a made-up cloud")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--voxels", type=int, nargs="+", default=[20_000, 60_000], help="cut the cloud to about that")
    args = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    cloud = torch.from_numpy(np.load(args.points) if args.points else made_up_cloud()).float()
    voxelize = HardVoxelize([0.1, 0.1, 0.2], [-54.0, -54.0, -5.0, 54.0, 54.0, 3.0])
    seconds = least(lambda: voxelize(cloud), args.repeats)
    square = torch.randn(2048, 2048)
    rate = 2 * 2048**3 / least(lambda: square @ square, 3)
    console.print(f"{torch.get_num_threads()} thread(s), matrix product {rate / 1e9:.0f} GFLOP/s")
    console.print(f"voxelise {len(cloud)} points: {seconds * 1e3:.1f} ms, {len(voxelize(cloud))} voxels")
    for wanted in args.voxels:
        share = wanted / len(voxelize(cloud))
        voxels = voxelize(cloud[: round(len(cloud) * share)])
        features, coords = HardSimpleVFE(5)(voxels), batch_coords([voxels.coords])
        inside = (coords[:, 1:] < torch.tensor(SHAPE)).all(dim=1)
        measure(features[inside], coords[inside], rate, args.repeats, console)


def measure(features: Tensor, coords: Tensor, rate: float, repeats: int, console: Console) -> None:
    """Time pairs, forward and backward with both backends in turn."""
    models = {name: encoder(name) for name in FINDERS}
    floor = 2 * multiplications(models["torch"], features, coords) / rate
    seconds: dict[tuple[str, str], float] = {}

    def note(backend: str, what: str, since: float) -> None:
        seconds[backend, what] = min(seconds.get((backend, what), np.inf), time.process_time() - since)

    for _ in range(repeats):
        for backend, model in models.items():
            start = time.process_time()
            find_pairs(Sites(coords, SHAPE, 1), FINDERS[backend])
            note(backend, "pairs", start)
            start = time.process_time()
            out = model(features, coords, 1)
            note(backend, "forward", start)
            start = time.process_time()
            out.backward(torch.ones_like(out))
            note(backend, "backward", start)
    console.print(f"\n{len(coords)} voxels, floor of the arithmetic {floor:.3f} s forward, {2 * floor:.3f} s backward")
    for what, least_possible in (("pairs", None), ("forward", floor), ("backward", 2 * floor)):
        ours, theirs = seconds["torch", what], seconds["spconv", what]
        of_floor = f", floor is {least_possible / ours:.0%} of ours" if least_possible else ""
        console.print(f"{what:<9} torch {ours:.3f} s, spconv {theirs:.3f} s, ratio {theirs / ours:.2f}{of_floor}")


def encoder(backend: str) -> SparseEncoder:
    """The encoder of the official configs."""
    return SparseEncoder(
        5,
        SHAPE,
        encoder_channels=((16, 16, 32), (32, 32, 64), (64, 64, 128), (128, 128)),
        encoder_paddings=((0, 0, 1), (0, 0, 1), (0, 0, [0, 1, 1]), (0, 0)),
        backend=backend,
    )


def find_pairs(sites: Sites, finder: PairFinder) -> None:
    """Every rulebook that one forward needs."""
    for padding in STAGES:
        finder.submanifold(sites, (3, 3, 3))
        sites, _ = finder.strided(sites, (3, 3, 3), (2, 2, 2), padding)
    finder.submanifold(sites, (3, 3, 3))
    finder.strided(sites, (3, 1, 1), (2, 1, 1), (0, 0, 0))


def multiplications(model: SparseEncoder, features: Tensor, coords: Tensor) -> int:
    """Multiply-adds of one forward: pairs times channels, over all layers."""
    total = 0

    def count(layer: SparseConvolution, inputs: tuple[SparseTensor], _: SparseTensor) -> None:
        nonlocal total
        x = inputs[0]
        if layer.submanifold:
            pairs = len(x.submanifold(layer.kernel_size).inputs) + len(x.sites)
        else:
            pairs = len(x.strided(layer.kernel_size, layer.stride, layer.padding)[1].inputs)
        total += pairs * layer.in_channels * layer.out_channels

    layers = [layer for layer in model.modules() if isinstance(layer, SparseConvolution)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        model(features, coords, 1)
    for hook in hooks:
        hook.remove()
    return total


def made_up_cloud(sweeps: int = 10, seed: int = 0) -> np.ndarray:
    """(P, 5) float32: rings on the ground and on walls 4 to 70 m away, the LiDAR moving 0.25 m per sweep."""
    rng = np.random.default_rng(seed)
    wall = np.repeat(rng.uniform(4, 70, 90), 12)  # range of the nearest wall, per azimuth
    azimuth = np.arange(len(wall)) * (2 * np.pi / len(wall))
    slope = np.tan(np.radians(np.linspace(-30, 10, 32)))[:, None]
    clouds = []
    for sweep in range(sweeps):
        with np.errstate(divide="ignore"):
            ground = np.where(slope < 0, -1.84 / slope, np.inf)
        distance = np.minimum(ground, wall) + rng.normal(0, 0.02, (32, len(wall)))
        x, y, z = distance * np.cos(azimuth), distance * np.sin(azimuth) - 0.25 * sweep, distance * slope
        clouds.append(np.stack([x, y, z, np.full_like(x, 20.0), np.full_like(x, 0.05 * sweep)], -1).reshape(-1, 5))
    return np.concatenate(clouds).astype(np.float32)


def least(run: Callable[[], object], repeats: int) -> float:
    """CPU seconds of the quickest run."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return min(seconds)


if __name__ == "__main__":
    main()
