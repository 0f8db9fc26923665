"""Lets a torch for CUDA be imported without CUDA's libraries, which are 3 GB and which nothing calls here; called by
scripts/export-check.sh. Needs cc and readelf.

    python without_cuda.py

For each library that torch links to and that is not there, one is made beside torch's own, of functions that stop the
program. A torch for CPUs needs none.
"""

import collections
import ctypes
import importlib.util
import pathlib
import subprocess
import sys
import tempfile

# Beginnings of the functions of libraries whose version, if they have one, is not the name of the
# library.
OWNERS = {"nccl": "libnccl.", "cusparseLt": "libcusparseLt.", "cuFile": "libcufile.", "nvshmem": "libnvshmem_host."}


def lines(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def is_there(library, folders):
    if any((folder / library).exists() for folder in folders):
        return True
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def missing(library, folders):
    """Names of the libraries that are not there, each with the functions that torch asks of it, and their versions."""
    needed = [line.split("[")[1].rstrip("]") for line in lines("readelf", "-dW", library) if "(NEEDED)" in line]
    found = {name: set() for name in needed if not is_there(name, folders)}
    for line in lines("readelf", "--dyn-syms", "-W", library) if found else []:
        columns = line.split()
        if len(columns) < 8 or columns[6] != "UND":
            continue
        name, _, version = columns[7].partition("@")
        start = next((start for start in OWNERS if name.startswith(start)), None)
        of = next((own for own in found if own.startswith(OWNERS[start])), None) if start else version
        if of in found:
            found[of].add((name, version))
    return found


def make(path, functions):
    with tempfile.TemporaryDirectory() as temporary:
        source, script = pathlib.Path(temporary) / "x.c", pathlib.Path(temporary) / "x.map"
        source.write_text("".join(f"void {name}(void) {{ __builtin_trap(); }}\n" for name, _ in sorted(functions)))
        versions = sorted({version for _, version in functions if version})
        script.write_text("".join(f"{version} {{ global: *; }};\n" for version in versions))
        flags = ["-w", "-shared", "-fPIC", "-nostdlib", f"-Wl,-soname,{path.name}"]
        flags += [f"-Wl,--version-script={script}"] if versions else []
        subprocess.run(["cc", *flags, "-o", path, source], check=True)


def main():
    torch = pathlib.Path(importlib.util.find_spec("torch").origin).parent
    folders = [torch / "lib", *torch.parent.glob("nvidia/*/lib")]
    wanted = collections.defaultdict(set)
    for library in sorted((torch / "lib").glob("*.so")):
        # These two are opened when a GPU computes.
        if library.name not in ("libtorch_cuda_linalg.so", "libcaffe2_nvrtc.so"):
            for name, functions in missing(library, folders).items():
                wanted[name] |= functions
    for name, functions in sorted(wanted.items()):
        make(torch / "lib" / name, functions)
    if wanted:
        print(f"torch is imported without {', '.join(sorted(wanted))}")


if __name__ == "__main__":
    sys.exit(main())
