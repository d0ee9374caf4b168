"""`make docker-build-test`: build the images `eval` and `cpu` without an engine, and use them as a plain user.

The base is a Debian of mmdebstrap in the place of BASE_IMAGE, since registries may be out of reach; everything after
FROM is docker/Dockerfile as it stands. Images that need CUDA cannot be built this way.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from changed import hashes, write_record
from checks import all_checks
from containers import Containers
from images import BASE, build, lay_out, make_base, make_cuda_base
from rootless import Failure, Rootless, install_missing
from steps import Steps

REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> int:
    """Build and check; 1 where something failed, whose log is shown."""
    parser = argparse.ArgumentParser(prog="docker/build_test", description=__doc__.split("\n\n")[0])
    # /var/tmp, since root's home is closed to the account that builds, and /tmp may be in memory.
    parser.add_argument("--work", type=Path, default=Path("/var/tmp/aqr-docker"), help="folder of images, 6 GB")
    parser.add_argument("--log", type=Path, default=REPOSITORY / "build" / "docker-build-test.log")
    parser.add_argument(
        "--train", action="store_true", help="also `train`, on a base with torch for the CPU: 6 minutes"
    )
    parser.add_argument("--demo", action="store_true", help="also the demo, as its service runs it: 4 minutes more")
    parser.add_argument("--keep", action="store_true", help="leave the images in --work, to look at them")
    arguments = parser.parse_args()

    arguments.log.parent.mkdir(parents=True, exist_ok=True)
    with arguments.log.open("w", encoding="utf-8") as log:
        steps = Steps(log)
        try:
            return run(arguments, steps)
        except Failure as failure:
            steps.show_end_of_log()
            sys.stderr.write(f"docker-build-test: {failure} The whole log: {arguments.log}\n")
            return 1


def run(arguments: argparse.Namespace, steps: Steps) -> int:
    """All steps, in order; the base is kept from run to run, the rest made anew."""
    with steps.step("tools"):
        install_missing()
        rootless = Rootless(arguments.work)
    with steps.step("base: Debian 12 by mmdebstrap") as log:
        make_base(rootless, log)
        rootless.forget_images_but(BASE)
    with steps.step("context, with files that must stay out") as log:
        context = lay_out(rootless, REPOSITORY, log)
        built = hashes(context)
    sizes = {}
    targets = ["eval", "cpu", "train"] if arguments.train else ["eval", "cpu"]
    if arguments.train:
        with steps.step("base with torch") as log:
            make_cuda_base(rootless, context, log)
    for target in targets:
        with steps.step(f"build {target}") as log:
            sizes[target] = build(rootless, target, context, REPOSITORY, log)
    with Containers(rootless) as containers:
        for title, check in all_checks(targets, demo=arguments.demo, host_demo=REPOSITORY / "demo"):
            with steps.step(title) as log:
                check(containers, log)
    if not arguments.keep:
        with steps.step("clean up"):
            rootless.forget_images_but(BASE)
    summary = steps.table() + "\n" + "\n".join(size.table() for size in sizes.values())
    arguments.log.with_suffix(".md").write_text(summary, encoding="utf-8")
    sys.stdout.write(f"\n{summary}\nThis table: {arguments.log.with_suffix('.md')}; the whole log: {arguments.log}\n")
    write_record(REPOSITORY, built)
    return 0


if __name__ == "__main__":
    sys.exit(main())
