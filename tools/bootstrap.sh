#!/bin/sh
# Make `.venv` what the lock files say, from whatever python3 (3.11 to 3.13) is there. Needs no root.
# Done once per lock: `.venv/.stamp` remembers the locks and the place, and a match costs milliseconds
# and no network. PYTHON=... names the interpreter; INSTALLER=pip leaves uv out.
set -eu
cd "$(dirname "$0")/.."

stop() { printf 'evalkit: %s\n' "$1" >&2; exit 1; }

# Spark is 0.5 GB that only its own tests need: it is installed where there is a Java to run it, in a
# folder of its own, since pandera loads whatever Spark it finds.
spark=""
! command -v java >/dev/null 2>&1 || spark=requirements-spark.lock
locks="$(cat requirements-bootstrap.lock requirements.lock requirements-data.lock $spark | cksum) $(pwd -P)"
project="$(cksum <pyproject.toml)"
python=.venv/bin/python

find_python() { # prints the first usable interpreter; otherwise says in one line what is missing
    unpacked="" seen=""
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
        version=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
        case $version in 3.11 | 3.12 | 3.13) ;; *) seen="$seen $candidate is $version" && continue ;; esac
        "$candidate" -c 'import venv, ensurepip' 2>/dev/null && printf '%s' "$candidate" && return
        unpacked=$version
    done
    [ -z "$unpacked" ] || stop "Python $unpacked is here without its venv module: install it (Debian, Ubuntu: apt install python$unpacked-venv) or name another Python: make PYTHON=/path/to/python3"
    stop "Python 3.11, 3.12 or 3.13 is missing (${seen:- no python3 on the path}); install one, or name it: make PYTHON=/path/to/python3"
}

version() { "$1" -c 'import sys; print(sys.version)' 2>/dev/null; }

other=""
[ -z "${PYTHON:-}" ] || [ "$(version "$PYTHON")" = "$(version "$python")" ] || other=yes

if [ -n "$other" ] || [ "$(cat .venv/.stamp 2>/dev/null)" != "$locks" ] || ! version "$python" >/dev/null; then
    base=$(find_python)
    echo "evalkit: making .venv with $("$base" --version) (once; 10 seconds to 3 minutes, 1.3 GB; 1.8 GB with Spark, where Java is)"
    "$base" -m venv --clear .venv
    pip="$python -m pip --disable-pip-version-check --quiet --no-input install"
    hashed="--require-hashes --no-deps"
    installer=${INSTALLER:-uv}
    if [ "$installer" = uv ] && ! $pip $hashed --only-binary :all: -r requirements-bootstrap.lock; then
        echo "evalkit: uv does not install here; using pip, which takes about two minutes" >&2
        installer=pip
    fi
    if [ "$installer" = uv ]; then
        # uv does not read pip's configuration, where a nearer mirror may be named.
        mirror=${PIP_INDEX_URL:-$("$python" -m pip config get global.index-url 2>/dev/null || true)}
        [ -z "$mirror" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$mirror}"
        .venv/bin/uv pip install --quiet --python "$python" $hashed --no-build-isolation \
            -r requirements.lock -r requirements-data.lock || installer=pip
        [ -z "$spark" ] || .venv/bin/uv pip install --quiet --python "$python" --target .venv/spark $hashed \
            --no-build-isolation -r $spark || installer=pip
    fi
    if [ "$installer" = pip ]; then
        awk '/^[^ ]/ { keep = !/^uv==/ } keep' requirements-bootstrap.lock >.venv/builders.lock
        $pip $hashed -r .venv/builders.lock && $pip $hashed --no-build-isolation -r requirements.lock -r requirements-data.lock &&
            { [ -z "$spark" ] || $pip $hashed --no-build-isolation --target .venv/spark -r $spark; } ||
            stop "the locked packages could not be installed (see above); this first step needs the network"
    fi
    rm -f .venv/.project
    printf '%s' "$locks" >.venv/.stamp
fi

if [ "$(cat .venv/.project 2>/dev/null)" != "$project" ]; then
    "$python" -m pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation -e .
    printf '%s' "$project" >.venv/.project
fi

# matplotlib announces its first font scan on stderr, where a notebook's build takes it for a warning.
if [ -n "${MPLCONFIGDIR:-}" ] && ! ls "$MPLCONFIGDIR"/fontlist* >/dev/null 2>&1; then
    mkdir -p "$MPLCONFIGDIR" && "$python" -c 'import matplotlib.font_manager' 2>/dev/null
fi
