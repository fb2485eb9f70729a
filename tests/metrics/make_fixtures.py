"""Writes tests/metrics/fixtures: tables of labels and scores with the numbers of the reference's formulas (docs/metrics.md), taken
straight from the definitions in NumPy, and the order that NumPy's argsort gives lists with equal scores.
Needs NumPy below 1.25: later ones sort otherwise on some processors.   usage: python make_fixtures.py FOLDER"""
import json
import math
import sys

import numpy as np

assert tuple(map(int, np.__version__.split(".")[:2])) < (1, 25), "NumPy below 1.25 is needed"
folder = sys.argv[1]
np.seterr(all="ignore")


def f_beta(p, r, beta):
    return (1 + beta**2) * p * r / (beta**2 * p + r + 1e-7)


def listed_ap(score, label):
    found, total = 0, 0.0
    for rank, i in enumerate(np.argsort(score)[::-1], 1):
        if label[i]:
            found += 1
            total += found / rank
    return total / found if found else 0.0


def grouped_ap(score, label):
    return float(np.mean([label[score >= s].mean() for s in score[label == 1]])) if label.any() else math.nan


def auc(score, label):
    positive, negative = score[label == 1][:, None], score[label == 0][None]
    if positive.size == 0 or negative.size == 0:
        return math.nan
    return float(((positive > negative) + 0.5 * (positive == negative)).mean())


def class_counts(label, predicted):
    n_predicted = predicted.sum(0).astype(float)
    n_predicted[n_predicted == 0] = 1
    return (predicted & label).sum(0), n_predicted, label.sum(0)


def ratios(n_found, n_predicted, n_present):
    p, r = n_found / (n_predicted + 1e-7), n_found / np.float64(n_present)
    return p, r, f_beta(p, r, 1), f_beta(p, r, 2)


def false_positive_rate(label, predicted):
    n_found, n_predicted, n_present = class_counts(label, predicted)
    return ((n_predicted - n_found) / (len(label) - n_present)).mean()


def dictionaries(label, score, threshold, weights):
    predicted = (score >= threshold).astype(int)
    n_found, n_predicted, n_present = class_counts(label, predicted)
    p, r, f1, f2 = ratios(n_found, n_predicted, n_present.astype(float))
    aucs = np.array([auc(score[:, c], label[:, c]) for c in range(label.shape[1])])
    shows = label.any(1)
    micro = ratios(n_found.sum(), n_predicted.sum(), n_present.sum())
    main = {
        "MACRO_P": p.mean(), "MACRO_R": r.mean(), "MACRO_F1": f1.mean(), "MACRO_F2": f2.mean(),
        "mAP": np.mean([listed_ap(score[:, c], label[:, c]) for c in range(label.shape[1])]), "ROC_AUC": aucs.mean(),
        "FNR": (1 - r).mean(), "FPR": false_positive_rate(label, predicted),
        "FPR_IN_POSITIVE": false_positive_rate(label[shows], predicted[shows]),
        "FPR_IN_NEGATIVE": false_positive_rate(label[~shows], predicted[~shows]),
        "MICRO_P": micro[0], "MICRO_R": micro[1], "MICRO_F1": micro[2], "MICRO_F2": micro[3],
        "CIW_F2": (f2 * weights).sum() / weights.sum(),
    }
    meta = {}
    for name, real, said in (("POSITIVE", shows, predicted.any(1)), ("NEGATIVE", ~shows, ~predicted.any(1))):
        counts = (real & said).sum(), said.sum(), real.sum()
        meta.update(zip((f"{name}_{k}" for k in ("P", "R", "F1", "F2", "NTP", "NP", "NG")), (*ratios(*counts), counts[0], *counts[1:])))
    classes = {"P_CLS": p, "R_CLS": r, "F1_CLS": f1, "F2_CLS": f2, "ROC_AUC_CLS": aucs, "NP": n_predicted, "NTP": n_found, "NG": n_present}
    return [main, meta, classes]


def tuned(label, score, beta):
    grid = np.arange(5, 100, 5) / 100
    f = []
    for threshold in grid:
        n_found, n_predicted, n_present = class_counts(label, (score >= threshold).astype(int))
        p, r, *_ = ratios(n_found, n_predicted, n_present.astype(float))
        f.append(f_beta(p, r, beta))
    return [np.max(f, 0).mean(), grid[np.argmax(f, 0)]]


def plain(value):
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(v) for v in value]
    return float(value) if math.isfinite(value) else None


def write_case(name, label, score, threshold, weights):
    n, m = label.shape
    with open(f"{folder}/{name}.csv", "w") as out:
        print("id", *(f"y{c}" for c in range(m)), *(f"s{c}" for c in range(m)), sep=",", file=out)
        for i in range(n):
            print(f"{i}.png", *label[i], *(repr(float(s)) for s in score[i]), sep=",", file=out)
    case = {
        "n": n, "classes": m, "threshold": threshold, "label_weights": weights,
        "reference": dictionaries(label, score, np.array(threshold), np.array(weights)),
        "max_fbeta": {str(beta): tuned(label, score, beta) for beta in (0.5, 1.0, 2.0)},
        "sklearn": {"average_precision": [grouped_ap(score[:, c], label[:, c]) for c in range(m)],
                    "roc_auc": [auc(score[:, c], label[:, c]) for c in range(m)]},
    }
    with open(f"{folder}/{name}.json", "w") as out:
        json.dump({k: v if isinstance(v, int) else plain(v) for k, v in case.items()}, out, indent=1)


def make_mixed(draw):
    label = (draw.random((240, 4)) < (0.3, 0.1, 0.02, 0.0)).astype(int)
    score = np.round(np.clip(0.35 * label + 0.65 * draw.random(label.shape), 0, 1), 2)
    write_case("mixed", label, score, [0.5, 0.44, 0.62, 0.9], [1.0, 0.5518, 0.2896, 0.1622])


def make_edges(draw):
    """A constant score that is the threshold; a class in every image; one never predicted; one found without fault."""
    label = (draw.random((60, 4)) < (0.3, 1.0, 0.2, 0.4)).astype(int)
    score = np.round(draw.random(label.shape), 6)
    score[:, 0] = 0.7
    score[:, 2] *= 0.04
    score[:, 3] = label[:, 3]
    write_case("edges", label, score, [0.7] * 4, [1.0, 0.5, 0.25, 0.0])


def killer(n):
    """Scores that make each median of three the second lowest, so that the depth is used up and the heap sort comes in: an adversary
    (McIlroy 1999) plays the sort of make_order and fixes a score only when it is compared."""
    gas = n
    value, state = [gas] * n, {"solid": 0, "candidate": 0}

    def less(a, b):
        if value[a] == gas and value[b] == gas:
            frozen = a if a == state["candidate"] else b
            value[frozen] = state["solid"]
            state["solid"] += 1
        if value[a] == gas:
            state["candidate"] = a
        elif value[b] == gas:
            state["candidate"] = b
        return value[a] < value[b]

    sort_like_numpy(list(range(n)), less)
    return [v / n for v in value]


def sort_like_numpy(order, less):
    waiting, first, last = [], 0, len(order) - 1

    def pair(a, b):
        if less(order[b], order[a]):
            order[a], order[b] = order[b], order[a]

    while True:
        while last - first > 15:
            middle = first + (last - first) // 2
            pair(first, middle), pair(middle, last), pair(first, middle)
            pivot, up, down = order[middle], first, last - 1
            order[middle], order[down] = order[down], order[middle]
            while True:
                up += 1
                while less(order[up], pivot):
                    up += 1
                down -= 1
                while less(pivot, order[down]):
                    down -= 1
                if up >= down:
                    break
                order[up], order[down] = order[down], order[up]
            order[up], order[last - 1] = order[last - 1], order[up]
            if up - first < last - up:
                waiting.append((up + 1, last))
                last = up - 1
            else:
                waiting.append((first, up - 1))
                first = up + 1
        for i in range(first + 1, last + 1):
            while i > first and less(order[i], order[i - 1]):
                order[i], order[i - 1] = order[i - 1], order[i]
                i -= 1
        if not waiting:
            return
        first, last = waiting.pop()


def fingerprint(order):
    """The order in one number; test_reference_rank.c folds it the same way."""
    value = 14695981039346656037
    for i in order.tolist():
        value = (value ^ i) * 1099511628211 % 2**64
    return value


def levels(n, count):
    """Scores k / count that look random and that C makes the same way."""
    return [(i * 2654435761 % 2**32 >> 7) % count / count for i in range(n)]


def write_orders():
    lists = [(f"levels {n} {count}", levels(n, count)) for n in (1, 2, 3, 16, 17, 18, 33, 100, 1000, 100000) for count in (1, 2, 7, 100, 65536)]
    lists += [(f"sorted {n}", [i // 3 / n for i in range(n)]) for n in (17, 1000)]
    lists += [(f"reversed {n}", [(n - i) // 3 / n for i in range(n)]) for n in (17, 1000)]
    lists += [(f"pipe {n}", [min(i, n - 1 - i) / n for i in range(n)]) for n in (17, 1000)]
    hard = killer(3000)
    tied = [v if v < 0.0625 else math.floor(v * 64) / 64 for v in hard]
    lists += [("killer", hard), ("killer tied", tied)]
    with open(f"{folder}/orders.csv", "w") as out:
        print("list,order", file=out)
        for name, scores in lists:
            print(name, fingerprint(np.argsort(np.array(scores))), sep=",", file=out)
    with open(f"{folder}/killer.csv", "w") as out:
        print("score", file=out)
        for v in hard:
            print(round(v * 3000), file=out)


make_mixed(np.random.RandomState(1))
make_edges(np.random.RandomState(2))
write_orders()
