#!/bin/sh
# Installs the frameworks of the differential test into target/frameworks, each at a pinned version: Node with Express 4
# and 5, Flask on gunicorn, FastAPI on uvicorn. nginx, PHP-FPM, puma and Sinatra are Debian's (setup.sh). What is there is
# left alone.
set -eu
cd "$(dirname "$0")/../.."

ROOT=target/frameworks
apps=tests/differential/apps
# Changes with everything that is installed.
wanted=$(cat "$apps/python/requirements.txt" "$apps/express/package-lock.json" | cksum)

if [ "$(cat "$ROOT/installed" 2>/dev/null)" = "$wanted" ]; then
    echo "setup: the frameworks are there"
    exit 0
fi
echo "setup: installing the frameworks into $ROOT"
mkdir -p "$ROOT/node"
rm -f "$ROOT/installed"
python3 -m venv "$ROOT/venv"
"$ROOT/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$apps/python/requirements.txt"
cp "$apps/express/package.json" "$apps/express/package-lock.json" "$ROOT/node/"
(
    PATH="$PWD/$ROOT/venv/bin:$PATH"
    cd "$ROOT/node"
    npm ci --silent --no-audit --no-fund --ignore-scripts --no-update-notifier
)
echo "$wanted" > "$ROOT/installed"
