#!/bin/sh
# Installs what `demo`, `test` (if nothing is said), `differential`, `faults` or `bench` needs beside Rust on a bare Debian 12,
# as root. What is there is left alone; what cannot be had stops the run. Needs a network only for what is missing.
set -eu
cd "$(dirname "$0")/../.."

# Real clients of exchanges, each at the version that the tests were written against.
LIBRARIES="ccxt==4.5.90 python-okx==0.4.4 binance-connector==3.13.0"
# The engines of two editor plug-ins for TOML.
EDITORS="taplo==0.9.3 tombi==1.9.6"
# A mail server.
SERVERS="aiosmtpd==1.4.6"
FOR=${1:-test}
VENV=target/venv
# axe-core 4.12.1, as a package of the Python registry carries it. Its sum is that of the script itself.
AXE_PACKAGE="axe-playwright-python==0.1.8"
AXE=target/axe/axe.min.js
AXE_SUM=84494fec757e4710dc751c8d7a636e457f4532f08f85c86dc9070133fbff53bc

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# Debian package, and a command or file that it brings.
wanted() {
    echo build-essential gcc
    case "$1" in
    demo) echo curl curl ;;
    test)
        cat <<TXT
curl curl
g++ g++
chromium chromium
chromium-driver chromedriver
python3 python3
redis-server redis-server
TXT
        ;;
    differential)
        cat <<TXT
nginx-light nginx
php8.2-fpm php-fpm8.2
puma puma
python3 python3
ruby ruby
TXT
        ;;
    faults) echo redis-server redis-server ;;
    bench)
        cat <<TXT
nginx-light nginx
redis-server redis-server
wrk wrk
nghttp2-client h2load
TXT
        ;;
    esac
}

case "$FOR" in
demo | test | differential | faults | bench) ;;
*) fail "what for? demo, test, differential, faults or bench" ;;
esac

# nginx is in /usr/sbin, which is not on every PATH.
PATH="$PATH:/usr/sbin"

command -v cargo >/dev/null 2>&1 || fail "cargo is missing: install Rust (rustup.rs) first"

missing=""
for line in $(wanted "$FOR" | tr ' ' '='); do
    command -v "${line#*=}" >/dev/null 2>&1 || missing="$missing ${line%%=*}"
done
# Debian's python3 brings the venv module without what it needs to make one.
case "$FOR" in
test | differential)
    python3 -c 'import venv, ensurepip' >/dev/null 2>&1 || missing="$missing python3-venv"
    ;;
esac
# Screenshots of pages in Chinese and Japanese are of boxes without a font that has them: the smallest one.
if [ "$FOR" = test ] && [ ! -e /usr/share/fonts/truetype/wqy/wqy-microhei.ttc ]; then
    missing="$missing fonts-wqy-microhei"
fi
# And ruby without Sinatra is no use.
if [ "$FOR" = differential ]; then
    ruby -e 'require "sinatra/base"' >/dev/null 2>&1 || missing="$missing ruby-sinatra"
fi

if [ -n "$missing" ]; then
    say "installing$missing"
    [ "$(id -u)" = 0 ] || fail "not root; install these packages yourself:$missing"
    command -v apt-get >/dev/null 2>&1 || fail "no apt-get here; install these yourself:$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update
    # Packaged services must not start: tests start their own, on ports of their own.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' > "$policy"
        chmod +x "$policy"
    fi
    # shellcheck disable=SC2086 # one word per package
    apt-get -q -y install --no-install-recommends $missing
else
    say "all packages are there"
fi

if [ "$FOR" = differential ]; then
    tests/tools/frameworks.sh
fi
if [ "$FOR" != test ]; then
    say "done"
    exit 0
fi
# shellcheck disable=SC2086 # one word per library
if "$VENV/bin/python" - $LIBRARIES $EDITORS $SERVERS >/dev/null 2>&1 <<'PY'
import importlib.metadata, sys
for name, version in (one.split("==") for one in sys.argv[1:]):
    assert importlib.metadata.version(name) == version
PY
then
    say "$LIBRARIES $EDITORS $SERVERS are there"
else
    say "installing $LIBRARIES $EDITORS $SERVERS into $VENV"
    mkdir -p target
    python3 -m venv "$VENV"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check $LIBRARIES $EDITORS $SERVERS
fi
if echo "$AXE_SUM  $AXE" | sha256sum --check --status 2>/dev/null; then
    say "axe-core is there"
else
    say "fetching axe-core ($AXE_PACKAGE)"
    rm -rf target/axe
    "$VENV/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps -d target/axe "$AXE_PACKAGE"
    "$VENV/bin/python" -m zipfile -e target/axe/axe_playwright_python-*.whl target/axe/package
    cp target/axe/package/axe_playwright_python/axe.min.js "$AXE"
    echo "$AXE_SUM  $AXE" | sha256sum --check --status || fail "$AXE is not the one that was expected"
fi
for component in fmt clippy; do
    cargo "$component" --version >/dev/null 2>&1 || {
        say "adding $component to the Rust toolchain"
        rustup component add "$([ "$component" = fmt ] && echo rustfmt || echo "$component")"
    }
done
say "done"
