#!/usr/bin/env bash
# Redraws the figures and tables of docs/entropy.md from docs/entropy/runs:
#
#     bash scripts/entropy-figures.sh [FOLDER]
#
# Makes an environment of its own under target/ for matplotlib; needs python3 with venv and pip. If
# a folder is named, the figures are also written there, as PNG.
set -euo pipefail
cd "$(dirname "$0")/.."

environment=target/entropy-figures
if [ ! -x "$environment/bin/python" ] || ! "$environment/bin/python" -c "import matplotlib" 2> /dev/null; then
  python3 -m venv "$environment"
  "$environment/bin/pip" install --quiet --disable-pip-version-check matplotlib==3.10.8
fi
"$environment/bin/python" scripts/entropy/figures.py "$@"
