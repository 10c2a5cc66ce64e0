#!/usr/bin/env bash
# Installs what Nocturne runs on: uv, the locked environment, a Java runtime, Delta's jars. Safe to run again.
# `setup/environment.sh --tests` installs what tests need besides: redis-server, openssl, Chromium, an archive of Java's classes.
# `setup/environment.sh --group NAME` adds a group of pyproject.toml that few need.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:$HOME/.local/bin:$HOME/.cargo/bin:$PWD/.uv/bin"
# A company's own certificate authority is known to the system only.
if [ -s /etc/ssl/certs/ca-certificates.crt ]; then export UV_SYSTEM_CERTS=true; fi

say() { echo "set-up: $*" >&2; }
die() { say "$*"; exit 2; }

# work TEXT COMMAND...: what is done, with a dot every five seconds for as long as the command works.
work() {
    printf 'set-up: %s ' "$1" >&2
    shift
    while sleep 5; do printf . >&2; done >/dev/null &
    dots=$!
    local status=0
    "$@" || status=$?
    end_dots
    echo >&2
    return "$status"
}
end_dots() {
    if [ -n "${dots:-}" ]; then kill "$dots" && wait "$dots"; fi 2>/dev/null || true
    dots=
}
trap end_dots EXIT

apt_install() {
    command -v apt-get >/dev/null || die "install $* with this system's package manager, then start again"
    local as_root=()
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || die "needs root for: sudo apt-get install $*"
        as_root=(sudo -n)
    fi
    work "listing packages" "${as_root[@]}" apt-get update -qq
    work "installing $* with apt-get" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}

install_uv() {
    command -v uv >/dev/null && return
    # Debian keeps the part of venv that installs pip in a package of its own.
    python3.11 -m venv .uv >/dev/null 2>&1 || { apt_install python3.11-venv; python3.11 -m venv --clear .uv; }
    work "installing uv into .uv/" .uv/bin/pip install --quiet --disable-pip-version-check uv
}

install_environment() {
    work "installing the locked Python environment into .venv/, about 2 GB" \
        uv sync --frozen --compile-bytecode --python 3.11 --quiet
    # implicit is built for OpenMP, and brings no runtime of it.
    .venv/bin/python -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null || apt_install libgomp1
}

install_java() {
    .venv/bin/python -m nocturne.core.spark.java >/dev/null 2>&1 && return
    apt_install openjdk-17-jre-headless || apt_install openjdk-21-jre-headless
    .venv/bin/python -m nocturne.core.spark.java >/dev/null
}

install_jars() {
    work "putting Delta's jars into Spark" .venv/bin/python -m nocturne.core.spark.jars
}

add_group() {
    install_uv
    work "adding the group $1 to .venv/" uv sync --frozen --inexact --python 3.11 --quiet --group "$1"
}

if [ "${1:-}" = --tests ]; then
    .venv/bin/python -c 'import jax, optax' 2>/dev/null || add_group sequence
    command -v redis-server >/dev/null || apt_install redis-server
    command -v openssl >/dev/null || apt_install openssl # certificates of a server with TLS
    command -v chromium >/dev/null || command -v google-chrome >/dev/null || apt_install chromium fonts-dejavu-core
    if [ -x .venv/bin/python ] && [ ! -s .venv/java.jsa ]; then
        work "archiving what Java loads" .venv/bin/python -m tests.tools.java_archive .venv/java.jsa
    fi
elif [ "${1:-}" = --group ]; then
    add_group "$2"
else
    install_uv
    install_environment
    install_java
    install_jars
    work "compiling the ranking kernel, about a minute" .venv/bin/python -m nocturne.kernel
fi
