# Sourced by the tools: `venv EXTRA...` makes .venv with vlad and these extras, once; then $PYTHON runs it.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PYTHON=$ROOT/.venv/bin/python
export ORT_DISABLE_TELEMETRY=1
export PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH}

_fail() { printf '%s\n' "$*" >&2; exit 1; }

# The distribution's Python before others: the one that tools/install takes, and built with optimisation, as those
# that are built at home often are not.
_find_python() {
    local candidate
    for candidate in /usr/bin/python3.1[1-9] python3.11 python3.12 python3.13 python3.14 python3; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

_make_venv() {
    local python
    python=$(_find_python) || _fail "vlad needs Python 3.11 or newer; on Debian and Ubuntu: apt-get install python3 python3-venv"
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        echo "Python has no venv module here; installing python3-venv" >&2
        local sudo=""
        [ "$(id -u)" = 0 ] || sudo=sudo
        { $sudo apt-get update -qq && $sudo apt-get install -qq -y python3-venv; } >/dev/null ||
            _fail "could not install it; run: apt-get install python3-venv"
    fi
    "$python" -m venv "$ROOT/.venv"
}

venv() {
    local extras wanted stamp=$ROOT/.venv/.installed extra missing=""
    wanted=$(cat "$ROOT/pyproject.toml" "$ROOT/tools/constraints.txt" | sha256sum | cut -d' ' -f1)
    [ -x "$PYTHON" ] || _make_venv
    if [ "$(head -n 1 "$stamp" 2>/dev/null)" != "$wanted" ]; then echo "$wanted" >"$stamp.new"; else cp "$stamp" "$stamp.new"; fi
    for extra in core "$@"; do grep -qx "$extra" "$stamp.new" || missing="$missing $extra"; done
    [ -n "$missing" ] || { rm -f "$stamp.new"; return 0; }
    extras=$(IFS=,; echo "$*")
    echo "Installing vlad${extras:+[$extras]} into .venv (once; a minute or so)" >&2
    "$PYTHON" -m pip install --quiet --disable-pip-version-check \
        -c "$ROOT/tools/constraints.txt" -e "$ROOT${extras:+[$extras]}" >&2 ||
        _fail "pip could not install vlad[$extras]; its message is above. Is a package index reachable?"
    for extra in $missing; do echo "$extra" >>"$stamp.new"; done
    mv "$stamp.new" "$stamp"
}

# `beside FILE`, after `venv`: also the packages that tools/FILE lists, without what they ask for, which contradicts ours.
# Without them their tests are skipped.
beside() {
    local wanted stamp=$ROOT/.venv/.$1
    wanted=$(sha256sum <"$ROOT/tools/$1")
    [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
    if "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-deps -r "$ROOT/tools/$1" >&2; then
        echo "$wanted" >"$stamp"
    else
        echo "What tools/$1 lists is not installed; pip says above why" >&2
    fi
}
