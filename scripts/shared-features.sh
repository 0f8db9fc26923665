#!/usr/bin/env bash
# Proves that `cargo run` and `cargo test --workspace` want the same features of every registry
# crate, so that the second compiles none of them again. Prints the crates that differ.
set -euo pipefail
cd "$(dirname "$0")/.."

features() {
  cargo tree --quiet "$@" --format '{p}|{f}' --prefix none | sed 's, (\*)$,,' | sort -u
}

# Macros count too: one that is compiled again takes all that depends on it along.
run=$(features --package recipes --edges normal,build)
all=$(features --workspace --edges normal,build,dev)
differing=$(awk -F'|' '
  NR == FNR { run[$1] = run[$1] "\n    run   " $2; next }
  $1 in run { all[$1] = all[$1] "\n    run   " $2 }
  END { for (crate in run) if (run[crate] != all[crate]) { test = all[crate]; gsub(/run  /, "test ", test); print "  " crate run[crate] test } }
' <(printf '%s\n' "$run") <(printf '%s\n' "$all"))
if [ -n "$differing" ]; then
  printf 'compiled twice, once for run and once for test; name the missing feature in engine/Cargo.toml:\n%s\n' "$differing"
  exit 1
fi
echo "run and test share all $(printf '%s\n' "$run" | wc -l) crates"
