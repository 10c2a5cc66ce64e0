#!/usr/bin/env bash
# `make check`: stops at the first thing that is wrong, and says last what it is and what to do.
set -uo pipefail
cd "$(dirname "$0")/.."
log="$(mktemp)"
trap 'rm -f "$log"' EXIT

# check NAME FIX COMMAND...: the last line after a failure is NAME, the first error that the command told, and FIX.
check() {
    local name="$1" fix="$2" started=$SECONDS
    shift 2
    if "$@" >"$log" 2>&1; then
        echo "check: $name, $((SECONDS - started)) s"
        return
    fi
    cat "$log"
    local error
    error="$(grep -m 1 -E '^(FAILED|ERROR) |error:|BROKEN|^Would reformat|^[^ ]+:[0-9]+:[0-9]+: ' "$log" || tail -n 1 "$log")"
    echo "check: $name FAILED: ${error:0:300}; $fix"
    exit 1
}

check "format" "write it with .venv/bin/ruff format ." .venv/bin/ruff format --check .
check "lint" "mend it, some by .venv/bin/ruff check --fix ." .venv/bin/ruff check --output-format concise .
check "types" "mend what mypy says above" .venv/bin/mypy
check "layers" "imports lead downwards: see [tool.importlinter] in pyproject.toml" .venv/bin/lint-imports --no-logo
export PYTHONDONTWRITEBYTECODE= # compiled tests are kept: five seconds of the minute
check "quick tests" "run it alone with .venv/bin/pytest and the name above; if it is of docs/tables.md, make docs" \
    .venv/bin/pytest -m "not slow" -n 2 --dist loadfile --hypothesis-profile quick --durations-min 60
echo "check: all is well, $SECONDS s"
