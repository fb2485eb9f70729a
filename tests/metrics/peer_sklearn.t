#!/usr/bin/env bash
# scikit-learn says the same of 200 random cases (PEER_PYTHON: an interpreter that has it).
. tests/tap.sh
python=${PEER_PYTHON:-python3}
if "$python" -c 'import sklearn' 2>/dev/null; then
    tap_ok "AP, ROC-AUC, log loss and F-beta as scikit-learn has them" "$python" tests/metrics/peer_sklearn.py "$BUILD/tests/metrics/print_metrics" "$TMP"
    sed 's/^/# /' "$TMP/.tap_out"
else
    tap_skip "scikit-learn's metrics" "no Python package scikit-learn (PEER_PYTHON)"
fi
tap_done
