"""A plain paired bootstrap with NumPy and scikit-learn, which anyclass-evaluate compare is measured against: images are drawn with
replacement, each replicate is scored from scratch.
usage: plain_bootstrap.py LABELS A B OURS.json N_REPLICATES; exit 1 when an interval's end is off by more than chance allows"""
import json
import sys
import warnings

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, f1_score, fbeta_score, log_loss, roc_auc_score

warnings.filterwarnings("ignore")


def read(path, names, classes):
    return pd.read_csv(path, index_col=0).loc[names, classes].to_numpy()


def mean_of(function, y, x):
    return np.mean([function(y[:, c], x[:, c]) for c in range(y.shape[1]) if 0 < y[:, c].sum() < len(y)])


def measure(y, p):
    predicted = p >= 0.5
    return {
        "MACRO_F1": mean_of(f1_score, y, predicted),
        "MACRO_F2": mean_of(lambda a, b: fbeta_score(a, b, beta=2), y, predicted),
        "MICRO_F1": f1_score(y, predicted, average="micro"),
        "mAP": mean_of(average_precision_score, y, p),
        "ROC_AUC": mean_of(roc_auc_score, y, p),
        "NEGATIVE_F1": f1_score(~y.any(1), ~predicted.any(1)),
        "POSITIVE_F1": f1_score(y.any(1), predicted.any(1)),
        "LOG_LOSS": np.mean([log_loss(y[:, c], p[:, c], labels=[0, 1]) for c in range(y.shape[1])]),
    }


def main():
    labels = pd.read_csv(sys.argv[1], index_col=0)
    classes, names = list(labels.columns), list(labels.index)
    y = labels.to_numpy().astype(bool)
    a, b = (read(path, names, classes) for path in sys.argv[2:4])
    ours = json.load(open(sys.argv[4]))["Main"]
    n_replicates = int(sys.argv[5])
    rng = np.random.default_rng(7)
    exact = {"A": measure(y, a), "B": measure(y, b)}
    draws = {key: [] for key in exact["A"]}
    for _ in range(n_replicates):
        rows = rng.integers(0, len(y), len(y))
        of_a, of_b = measure(y[rows], a[rows]), measure(y[rows], b[rows])
        for key in draws:
            draws[key].append((of_a[key], of_b[key]))
    bad = 0
    for key, pairs in draws.items():
        pairs = np.array(pairs)
        difference = pairs[:, 1] - pairs[:, 0]
        for name, values in (("DIFFERENCE_INTERVAL", difference), ("A_INTERVAL", pairs[:, 0]), ("B_INTERVAL", pairs[:, 1])):
            # an end from n draws has a deviation of about 2.7 / sqrt(n) of the values' own (normal density at 1.96); both have one
            allowed = 3.5 * 2.7 * values.std() * np.sqrt(1 / n_replicates + 1 / 2000)
            for end, quantile in zip(ours[key][name], (0.025, 0.975)):
                off = end - np.quantile(values, quantile)
                good = abs(off) <= allowed
                bad += not good
                print(f"{key} {name}: {end:.5f}, off by {off:+.5f}, allowed {allowed:.5f}{'' if good else '  WRONG'}")
        for name in ("A", "B"):
            bad += not abs(ours[key][name] - exact[name][key]) < 1e-12
            print(f"{key} {name}: {ours[key][name]:.15f}, off by {ours[key][name] - exact[name][key]:.1e}")
    return bad > 0


sys.exit(main())
