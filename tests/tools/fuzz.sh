#!/bin/sh
# Builds the fuzz targets of tests/fuzz and runs one of them, or `all` one after the other, for so many seconds each. What
# is found is left in target/fuzz/found.
set -eu
cd "$(dirname "$0")/../.."

WHAT=${1:?what to run: all, or a target of tests/fuzz}
SECONDS_EACH=${2:-60}
ROOT=$PWD/target/fuzz
HOST=$(rustc -vV | sed -n 's/^host: //p')

# The versions are the gateway's own, so that what is fuzzed is what runs.
if [ ! -e tests/fuzz/Cargo.lock ] || [ Cargo.lock -nt tests/fuzz/Cargo.lock ]; then
    cp Cargo.lock tests/fuzz/Cargo.lock
fi
# From its folder, where the flags are (.cargo/config.toml).
(cd tests/fuzz && "${CARGO:-cargo}" build --target-dir "$ROOT")

run() {
    target=$1
    shift
    echo "fuzz: $target"
    # libFuzzer adds to the first folder, which is not the one in the tree.
    mkdir -p "$ROOT/corpus/$target" "$ROOT/found/$target" "$ROOT/log"
    log="$ROOT/log/$target"
    TARGET="$target" "$ROOT/$HOST/debug/stepgate-fuzz" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 "$@" \
        -artifact_prefix="$ROOT/found/$target/" "$ROOT/corpus/$target" "tests/fuzz/corpus/$target" \
        >"$log" 2>&1 || {
        tail -n 40 "$log" >&2
        echo "fuzz: $target found something; run it alone with TARGET=$target $ROOT/$HOST/debug/stepgate-fuzz FILE" >&2
        exit 1
    }
    sed -n 's/^stat::number_of_executed_units: *\([0-9]*\)/    \1 inputs/p; s/^stat::average_exec_per_sec: *\([0-9]*\)/    \1 per second/p' "$log"
}

targets() {
    for folder in tests/fuzz/corpus/*/; do basename "$folder"; done
}

case "$WHAT" in
all)
    for name in $(targets); do run "$name" -max_total_time="$SECONDS_EACH"; done
    ;;
*)
    [ -d "tests/fuzz/corpus/$WHAT" ] || { echo "fuzz: no target $WHAT, but: $(targets | tr '\n' ' ')" >&2; exit 2; }
    run "$WHAT" -max_total_time="$SECONDS_EACH"
    ;;
esac
