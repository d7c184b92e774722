#!/usr/bin/env bash
# Installs and builds the peers of tests/interop as far as this machine allows; what is missing is skipped by the tests.
set -uo pipefail
cd "$(dirname "$0")"
export DEBIAN_FRONTEND=noninteractive
mkdir -p .cache

# have NAME PACKAGE...: whether these Debian packages are there or can be had.
have() {
    local name=$1
    shift
    dpkg -s "$@" >/dev/null 2>&1 && return
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "interop: no $name, and only root can install it (apt-get install $*)" >&2
        return 1
    fi
    [ -n "${updated:-}" ] || apt-get update -qq >/dev/null
    updated=1
    apt-get install -y -qq --no-install-recommends "$@" >.cache/apt.log 2>&1 && return
    echo "interop: no $name: apt-get install $* failed: $(tail -1 .cache/apt.log)" >&2
    return 1
}

command -v chromium >/dev/null || command -v chromium-browser >/dev/null || have Chromium chromium

have GStreamer python3-gst-1.0 gir1.2-gst-plugins-bad-1.0 gstreamer1.0-nice \
    gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad

[ -n "$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null)" ] || have PostgreSQL postgresql

have "Redis with TLS" redis-tools

if have pion golang-go golang-github-pion-webrtc.v3-dev; then
    # Debian's packages lie in a GOPATH; only a program in one, with a go.mod, finds `/v3` there.
    gopath=$PWD/.cache/go
    mkdir -p "$gopath/src/pion_peer"
    cp peers/pion/main.go "$gopath/src/pion_peer/"
    echo "module pion_peer" >"$gopath/src/pion_peer/go.mod"
    (cd "$gopath/src/pion_peer" && GO111MODULE=off GOPATH="$gopath:/usr/share/gocode" go build -o ../../../pion_peer .) ||
        { rm -f .cache/pion_peer; echo "interop: pion's peer was not built" >&2; }
fi

if command -v npm >/dev/null; then
    [ -d .cache/node_modules/werift ] ||
        npm install --prefix .cache --no-audit --no-fund --no-package-lock --silent werift@0.25.2 >.cache/npm.log 2>&1 ||
        echo "interop: no werift: npm install failed: $(tail -1 .cache/npm.log)" >&2
    [ -d .cache/node_modules/@openai/agents-extensions ] ||
        npm install --prefix .cache --no-audit --no-fund --no-package-lock --silent \
            @openai/agents@0.18.0 @openai/agents-extensions@0.18.0 ws@8.23.0 zod@4 >.cache/npm.log 2>&1 ||
        echo "interop: no Agents SDK: npm install failed: $(tail -1 .cache/npm.log)" >&2
    # Heroku's schema of app.json is in the package of its tools for models; nothing of that is run.
    [ -f .cache/node_modules/@heroku/mcp-server/package.json ] ||
        npm install --prefix .cache --no-audit --no-fund --no-package-lock --silent --ignore-scripts \
            @heroku/mcp-server@1.2.8 >.cache/npm.log 2>&1 ||
        echo "interop: no schema of Heroku's: npm install failed: $(tail -1 .cache/npm.log)" >&2
else
    echo "interop: no werift, no Agents SDK and no schema of Heroku's, for there is no npm" >&2
fi
# Bots have a Python of their own: what they pin is none of ours.
[ -x .cache/bots/bin/python ] || python3 -m venv .cache/bots
.cache/bots/bin/pip install --quiet --disable-pip-version-check "pipecat-ai[websocket]==1.14.0" uvicorn twilio >.cache/pip.log 2>&1 ||
    { rm -rf .cache/bots; echo "interop: no Pipecat: pip install failed: $(tail -1 .cache/pip.log)" >&2; }
exit 0
