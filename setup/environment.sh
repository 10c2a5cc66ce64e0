#!/usr/bin/env bash
# Installs what Nocturne runs on: uv, the locked environment, a Java runtime, Delta's jars. Safe to run again.
# `setup/environment.sh --tests` installs what tests need besides: redis-server, openssl.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:$HOME/.local/bin:$HOME/.cargo/bin:$PWD/.uv/bin"
# A company's own certificate authority is known to the system only.
if [ -s /etc/ssl/certs/ca-certificates.crt ]; then export UV_SYSTEM_CERTS=true; fi

say() { echo "set-up: $*" >&2; }
die() { say "$*"; exit 2; }

apt_install() {
    command -v apt-get >/dev/null || die "install $* with this system's package manager, then start again"
    local as_root=()
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || die "needs root for: sudo apt-get install $*"
        as_root=(sudo -n)
    fi
    say "installing $* with apt-get"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}

install_uv() {
    command -v uv >/dev/null && return
    say "installing uv into .uv/"
    # Debian keeps the part of venv that installs pip in a package of its own.
    python3.11 -m venv .uv >/dev/null 2>&1 || { apt_install python3.11-venv; python3.11 -m venv --clear .uv; }
    .uv/bin/pip install --quiet --disable-pip-version-check uv
}

install_environment() {
    say "installing the locked Python environment into .venv/"
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
    say "putting Delta's jars into Spark"
    .venv/bin/python -m nocturne.core.spark.jars
}

if [ "${1:-}" = --tests ]; then
    command -v redis-server >/dev/null || apt_install redis-server
    command -v openssl >/dev/null || apt_install openssl # certificates of a server with TLS
else
    install_uv
    install_environment
    install_java
    install_jars
    say "compiling the ranking kernel"
    .venv/bin/python -m nocturne.kernel
fi
