#!/usr/bin/env bash
# Install what the tests of all storages need and pip does not bring: OpenSSH, Swift and nginx from Debian, azurite and
# pouchdb-server from npm, mongoeco in an environment of its own. What is there already is left as it is. What cannot be
# had is told; its tests skip, or fail where QUEUED_STORAGE_TEST_REQUIRE names "storages".
set -euo pipefail
cd "$(dirname "$0")/../.."
exec </dev/null
PYTHON=${1:-python3}

said() { printf 'storages: %s\n' "$*"; }

# sshd and the servers of Debian lie where only root's PATH leads.
export PATH=$PATH:/usr/sbin:/sbin
DEBIAN_PROGRAMS=(sshd memcached swift-ring-builder swift-proxy-server swift-account-server swift-container-server
    swift-object-server nginx)
DEBIAN_PACKAGES=(openssh-server memcached libmagic1 swift-proxy swift-account swift-container swift-object nginx-light)

debian() {
    local program missing=()
    for program in "${DEBIAN_PROGRAMS[@]}"; do
        if ! command -v "$program" >/dev/null; then missing+=("$program"); fi
    done
    # The library behind python-magic, which the storage of Swift imports.
    if ! "$PYTHON" -c 'import ctypes.util, sys; sys.exit(not ctypes.util.find_library("magic"))'; then
        missing+=(libmagic1)
    fi
    if [ ${#missing[@]} -eq 0 ]; then return; fi
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        said "missing: ${missing[*]}. As root, on Debian: apt-get install ${DEBIAN_PACKAGES[*]}"
        return
    fi
    said "installing ${DEBIAN_PACKAGES[*]}"
    # The tests start servers of their own; those of the packages are not to run.
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap "rm -f $policy" EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${DEBIAN_PACKAGES[@]}" >/dev/null
}

node() {
    local package missing=()
    if [ -n "${QUEUED_STORAGE_TEST_NODE-}" ]; then return; fi
    for package in azurite pouchdb-server; do
        if [ ! -e ".node/node_modules/$package/package.json" ]; then missing+=("$package"); fi
    done
    if [ ${#missing[@]} -eq 0 ]; then return; fi
    if ! command -v npm >/dev/null; then
        said "missing: npm (Node 18 or newer), which installs ${missing[*]}"
        return
    fi
    said "installing ${missing[*]} into .node"
    npm install --prefix .node --no-audit --no-fund --silent "${missing[@]}"
}

# mongoeco needs a newer Python than this package.
newer_python() {
    local root="" candidate
    if command -v pyenv >/dev/null; then root=$(pyenv root); fi
    for candidate in "$PYTHON" python3 python3.14 python3.13 "$root"/versions/3.1[3-9].*/bin/python; do
        if "$candidate" -c 'import sys, venv; sys.exit(sys.version_info < (3, 13))' 2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
}

mongoeco() {
    local newer
    if [ -n "${QUEUED_STORAGE_TEST_MONGOECO-}" ] || .mongoeco/bin/python -c 'import mongoeco' 2>/dev/null; then return; fi
    newer=$(newer_python)
    if [ -z "$newer" ]; then
        said "missing: Python 3.13 or newer, on the PATH or of pyenv, which mongoeco needs"
        return
    fi
    said "installing mongoeco into .mongoeco with $newer"
    "$newer" -m venv --clear .mongoeco
    .mongoeco/bin/python -m pip install --quiet --disable-pip-version-check 'mongoeco[wire]'
}

debian
node
mongoeco
