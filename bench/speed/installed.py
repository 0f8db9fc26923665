"""How much of the disk a package takes with all that it requires, or a file: one line of JSON, in MiB."""

import argparse
import importlib.metadata
import json
import pathlib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

MEBIBYTE = 1 << 20
# Of a block as stat counts them.
BLOCK = 512


def required(names: list[str]) -> set[str]:
    """The packages and everything that they require here, with the extras that are asked for."""
    waiting = list(map(Requirement, names))
    found: set[tuple[str, str]] = set()
    while waiting:
        wanted = waiting.pop()
        for extra in ["", *wanted.extras]:
            name = canonicalize_name(wanted.name)
            if (name, extra) in found:
                continue
            found.add((name, extra))
            lines = map(Requirement, importlib.metadata.requires(name) or [])
            waiting += [line for line in lines if line.marker is None or line.marker.evaluate({"extra": extra})]
    return {name for name, _ in found}


def taken(path: pathlib.Path) -> int:
    return path.stat().st_blocks * BLOCK


def of_package(name: str) -> int:
    """Of its files, those that Python compiled at the installation among them."""
    files = importlib.metadata.files(name) or []
    places = {pathlib.Path(str(file.locate())) for file in files}
    return sum(taken(place) for place in places if place.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--packages", nargs="+", metavar="PACKAGE")
    what.add_argument("--file", type=pathlib.Path)
    options = parser.parse_args()
    if options.file:
        print(json.dumps({"mebibytes": taken(options.file) / MEBIBYTE}))
        return
    sizes = {name: of_package(name) for name in required(options.packages)}
    cuda = sum(size for name, size in sizes.items() if name.startswith(("nvidia-", "cuda-", "triton")))
    found = {"mebibytes": sum(sizes.values()) / MEBIBYTE, "packages": len(sizes), "for_cuda": cuda / MEBIBYTE}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
