#!/bin/sh
# ./do COMMAND … runs a command in the project's locked environment, .venv.
#
# The environment is made when it is missing or stale: when a requirement, the Python or the
# place of this checkout has changed. Every package comes with its hash from requirements/dev.txt.
# PYTHON=python3.14 ./do … makes it from that one, and it stays until another is asked for.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
venv=$root/.venv
stamp=$venv/complete

say() { printf './do: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# What the environment was made from: one text, compared as a whole.
wanted() {
    printf '%s\n' "$root"
    cat "$root/do" "$root/requirements/dev.txt" | sha256sum
    "$1" -c 'import sys; print(sys.version)'
}

fresh() {
    [ -x "$venv/bin/python" ] && [ -f "$stamp" ] &&
        [ "$(cat "$stamp")" = "$(wanted "$venv/bin/python" 2>/dev/null)" ] &&
        { [ -z "${PYTHON:-}" ] || [ "$(wanted "$PYTHON" 2>/dev/null)" = "$(cat "$stamp")" ]; }
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif sudo -n true 2>/dev/null; then sudo -n "$@"
    else return 1
    fi
}

find_python() {
    # The words of PYTHON are one name or path: what is asked for is never replaced by another.
    if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"
    else set -- python3 python3.14 python3.13 python3.12 python3.11
    fi
    for name in "$@"; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    return 1
}

# A virtual environment with a pip that works on it; prints nothing but errors.
make_venv() {
    rm -rf "$venv"
    # The module ensurepip is what Debian puts into the package python3-venv.
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        "$python" -m venv "$venv"
        pip() { "$venv/bin/python" -m pip "$@"; }
    elif "$python" -c 'import venv' 2>/dev/null && "$python" -m pip --python "$python" --version >/dev/null 2>&1; then
        # The system's pip may be externally managed (PEP 668); for another environment it works.
        "$python" -m venv --without-pip "$venv"
        pip() { "$python" -m pip --python "$venv/bin/python" "$@"; }
    else
        [ -z "${1:-}" ] || die "$python still cannot make virtual environments"
        package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        say "installing $package, which $python needs to make an environment"
        as_root sh -c "apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
            apt-get install -qq --no-install-recommends $package" >/dev/null ||
            die "run this once, then again what you ran: apt-get install $package"
        make_venv again
    fi
}

install() {
    say "installing $(grep -c '^[a-z].*==' "$root/requirements/dev.txt") locked packages into .venv, once"
    # No source distributions: to build one, pip would take tools that are not locked.
    # No dependencies: the file holds all of them. Left to resolve them, pip prefers a version that
    # came out after the lock and then refuses it for having no hash.
    # PIP_USER of the machine's configuration contradicts a virtual environment.
    # What pip complains of is shown when it matters: in the end, and only if it failed.
    {
        PIP_USER=0 pip install --disable-pip-version-check --no-input --require-hashes --no-deps \
            --only-binary=:all: --progress-bar off --requirement "$root/requirements/dev.txt" \
            2>"$venv/pip.log" && : >"$venv/installed"
    } | sed -n -e 's/^Collecting \([^ ]*\).*/  \1/p' -e 's/^Processing \([^ ]*\/\)*\([^ /]*\).*/  \2/p' \
        -e 's/^Installing.*/  installing/p' >&2
    [ -f "$venv/installed" ] || { cat "$venv/pip.log" >&2; die "pip failed; its reason is above"; }

    # The SDK and the checkout are importable as they are: a change needs no reinstallation.
    site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    printf '%s\n' "$root" "$root/sdk/src" >"$site/blindllama-checkout.pth"
    # A first line that is sh and Python at once, as pip writes it, allows spaces in the path.
    cat >"$venv/bin/blindllama" <<EOF
#!/bin/sh
'''exec' "$venv/bin/python" "\$0" "\$@"
' '''
import sys

from blindllama._cli import main

sys.exit(main())
EOF
    chmod +x "$venv/bin/blindllama"
}

make_environment() {
    [ -w "$root" ] || die "this user may not write to $root; make it the owner, or use sudo"
    # Two of them at once would spoil each other: the second one waits, and finds it made.
    exec 9>"$root/.venv.lock"
    flock 9
    if fresh; then return; fi
    python=$(find_python) || {
        [ -z "${PYTHON:-}" ] ||
            die "Python 3.11 or newer is needed, and PYTHON=$PYTHON is none; name another, or unset PYTHON"
        die "Python 3.11 or newer is needed; run: apt-get install python3 python3-venv"
    }
    make_venv
    install
    # Last, and in one move: what was interrupted before is never taken for whole.
    wanted "$venv/bin/python" >"$stamp.new"
    mv "$stamp.new" "$stamp"
    say "the environment is ready"
}

if [ $# -eq 0 ]; then
    say "usage: ./do COMMAND …, for example ./do invoke --list"
    exit 2
fi
fresh || (make_environment)

# Modules of the caller's Python must not take the place of locked ones.
unset PYTHONHOME PYTHONPATH
export VIRTUAL_ENV="$venv" PATH="$venv/bin:$PATH"
exec "$@"
