#!/usr/bin/env bash
# The fixtures are what make_fixtures.py makes today (PEER_PYTHON: an interpreter with NumPy below 1.25).
. tests/tap.sh
python=${PEER_PYTHON:-python3}
if "$python" -c 'import numpy, sys; sys.exit(tuple(map(int, numpy.__version__.split(".")[:2])) >= (1, 25))' 2>/dev/null; then
    mkdir "$TMP/made"
    tap_ok "the fixtures are made" "$python" tests/metrics/make_fixtures.py "$TMP/made"
    tap_ok "and are those that are kept" diff -r "$TMP/made" tests/metrics/fixtures
else
    tap_skip "the fixtures made again" "no NumPy below 1.25 (PEER_PYTHON)"
fi
tap_done
