#!/bin/sh
# Starts the demo on free ports in a directory of its own, runs the given command with what it printed to
# its `env` file in the environment, and stops the demo. Exits with the command's status.
set -eu
cd "$(dirname "$0")/../.."

DEMO_DIR=${DEMO_DIR:-target/demo-test}
export DEMO_DIR DEMO_PORTS=free
TARGET=${CARGO_TARGET_DIR:-target}
out=target/demo-test.out

mkdir -p target
rm -f "$DEMO_DIR/env"
"$TARGET/debug/examples/demo" > "$out" 2>&1 &
demo=$!
trap 'kill "$demo" 2>/dev/null; wait "$demo" 2>/dev/null || true' EXIT INT TERM

tries=0
until [ -e "$DEMO_DIR/env" ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ] || ! kill -0 "$demo" 2>/dev/null; then
        echo "the demo did not start:" >&2
        cat "$out" >&2
        exit 1
    fi
    sleep 0.1
done
set -a
. "$DEMO_DIR/env"
set +a
status=0
"$@" || status=$?
if [ "$status" != 0 ]; then
    echo "--- the demo said:" >&2
    grep -E '^(SMS|demo:)' "$out" >&2 || true
    echo "--- the gateway said:" >&2
    tail -n 40 "$DEMO_DIR/gateway.log" >&2
fi
exit "$status"
