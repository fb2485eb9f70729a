"""Compares what print_metrics says of 200 random cases with scikit-learn: AP, ROC-AUC, log loss and F-beta (0.5, 1, 2) of each class.
usage: python peer_sklearn.py PRINT_METRICS FOLDER [CASES]    exit code 1 where a number is off by more than 1e-12"""
import subprocess
import sys
import warnings

import numpy as np
import sklearn
from sklearn.metrics import average_precision_score, fbeta_score, log_loss, roc_auc_score

warnings.filterwarnings("ignore")
NAMES = ("average_precision_score", "roc_auc_score", "log_loss", "fbeta_score 0.5", "fbeta_score 1", "fbeta_score 2")


def make_case(index):
    draw = np.random.RandomState(index)
    n, m = int(5000 ** draw.random_sample()), draw.randint(1, 21)
    share = draw.choice([0, 0.0005, 0.01, 0.1, 0.5, 0.99, 1], m, p=[0.1, 0.15, 0.2, 0.25, 0.15, 0.1, 0.05])
    label = (draw.random_sample((n, m)) < share).astype(np.uint8)
    score = draw.random_sample((n, m)) * 0.7 + 0.3 * label * draw.random_sample()
    for c in range(m):
        kind = draw.randint(8)
        if kind == 0:
            score[:, c] = draw.choice([0, 0.25, 0.5, 1])  # constant
        elif kind < 4:
            score[:, c] = np.round(score[:, c], kind)  # ties
        elif kind == 4:
            score[:, c] = score[:, c].astype(np.float32)
        elif kind == 5:
            score[:, c] = 1 / (1 + np.exp(-40 * (score[:, c] - 0.5)))  # crowded at both ends
        elif kind == 6:
            score[:, c] = np.where(score[:, c] > 0.5, 1.0, 0.0)  # all sure
    return float(draw.choice([0.5, 0.3, 0.25, 0.7, 0.999])), score, label


def expected(threshold, score, label):
    """Rows as print_metrics prints them; None where a class without positives, or without negatives, leaves ours undefined."""
    f = [fbeta_score(label, score >= threshold, beta=b, average=None, zero_division=0) for b in (0.5, 1, 2)]
    f = [np.atleast_1d(values) for values in f]
    if label.shape[1] == 1:  # taken for a binary problem: both classes' values came
        f = [np.atleast_1d(fbeta_score(label[:, 0], score[:, 0] >= threshold, beta=b, zero_division=0)) for b in (0.5, 1, 2)]
    rows = []
    for c in range(label.shape[1]):
        y, s = label[:, c], score[:, c]
        loss = log_loss(y, s, labels=[0, 1])
        if not y.any():
            rows.append([None, None, loss, None, None, None])
        else:
            rows.append([average_precision_score(y, s), None if y.all() else roc_auc_score(y, s), loss, *(values[c] for values in f)])
    return rows


def main():
    program, folder, n_cases = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 200
    cases = [make_case(index) for index in range(n_cases)]
    with open(f"{folder}/cases", "wb") as out:
        for threshold, score, label in cases:
            np.array(label.shape, np.int64).tofile(out)
            np.array([threshold]).tofile(out)
            np.ascontiguousarray(score.T).tofile(out)
            label.tofile(out)
    lines = subprocess.run([program, f"{folder}/cases"], check=True, capture_output=True, text=True).stdout.splitlines()
    wanted = [row for case in cases for row in expected(*case)]
    most, n_numbers, n_undefined, n_wrong = [0.0] * len(NAMES), 0, 0, len(lines) != len(wanted)
    for line, row in zip(lines, wanted):
        for k, (have, want) in enumerate(zip(map(float, line.split()), row)):
            if want is None:
                n_undefined += 1
                n_wrong += have == have
            else:
                n_numbers += 1
                most[k] = max(most[k], abs(have - want)) if have == have and want == want else float("inf")
    print(f"scikit-learn {sklearn.__version__}: {n_cases} cases, {len(wanted)} classes, {n_numbers} numbers, {n_undefined} undefined in ours")
    for name, value in zip(NAMES, most):
        print(f"{name}: {value:.1e}")
    sys.exit(n_wrong > 0 or max(most) > 1e-12)


main()
