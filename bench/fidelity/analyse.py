#!/usr/bin/env python3
"""Tables, tests and plots of the fidelity study, from the metrics that anyclass-evaluate left for each training.

usage: analyse.py FOLDER PREFIX     FOLDER is study.sh's; writes PREFIX-runs.csv, -summary.csv, -tests.csv, -peer.csv, -tables.md,
-report.html, -figure.svg
What is drawn and how stands in plots.py. docs/fidelity.md says what was compared before any of this was looked at."""
import csv
import functools
import glob
import itertools
import json
import os
import re
import sys
from collections import defaultdict

import numpy as np
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

import plots

METRICS = ("F1", "F2", "mAP", "F1-Neg", "P", "R", "tuned F1", "tuned F2", "tuned F1-Neg", "threshold", "FPR positive", "FPR negative", "presence AUC",
           "mAP positive")
MAIN = ("F1", "F2", "mAP", "F1-Neg", "tuned F1")
SPLIT_UP = ("mAP", "presence AUC", "mAP positive")


def number(value):
    return float("nan") if value is None else value


def read_table(path):
    """Names and numbers of a CSV whose first column is a name."""
    with open(path, newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [row[0] for row in rows], np.array([row[1:] for row in rows], float)


def split_up(folder, labels):
    """What mAP is made of, without any threshold: is something there at all (AUC of an image's largest score), and which class is it (mAP over the
    images that show one)."""
    parts = [read_table(path) for path in sorted(glob.glob(os.path.join(folder, "resnet18_val_f1_Test_sigmoid*.csv")))]
    names = [name for part in parts for name in part[0]]
    scores, y = np.concatenate([part[1] for part in parts]), np.array([labels[name] for name in names])
    some = y.any(axis=1)
    return float(roc_auc_score(some, scores.max(axis=1))), float(np.mean([average_precision_score(y[some, c], scores[some, c]) for c in range(y.shape[1])]))


def read_run(folder, labels):
    """A row, or None where the run is not finished."""
    who, share, setting, seed = re.fullmatch(r"version_([a-z]+)_(\d+)_(.+)_(\d+)", os.path.basename(folder)).groups()
    if not os.path.exists(os.path.join(folder, "done")):
        return None
    with open(os.path.join(folder, "resnet18_val_f1_Test_metrics.json")) as file:
        plain = json.load(file)
    with open(os.path.join(folder, "resnet18_val_f1_Test_max_f1_metrics.json")) as file:
        tuned = json.load(file)
    with open(os.path.join(folder, "training.csv")) as file:
        epochs = [(float(row["val_f1"]), int(row["epoch"])) for row in csv.DictReader(file)]
    best = max(epochs, key=lambda e: (e[0], -e[1]))
    main, meta = plain["Main"], plain["Meta"]
    values = (main["MACRO_F1"], main["MACRO_F2"], main["mAP"], meta["NEGATIVE_F1"], main["MACRO_P"], main["MACRO_R"],
              tuned["Main"]["MACRO_F1"], tuned["Main"]["MACRO_F2"], tuned["Meta"]["NEGATIVE_F1"],
              float(np.mean(tuned["Class"]["THRESHOLD_CLS"])), main["FPR_IN_POSITIVE"], main["FPR_IN_NEGATIVE"], *split_up(folder, labels(int(share))))
    return {"who": who, "negatives": int(share), "setting": setting, "seed": int(seed), "epoch": best[1], "val F1": best[0],
            **{name: number(value) for name, value in zip(METRICS, values)}}


def base_of(setting):
    """any_bce_0.5 -> bce, any_bce_0.5-inv -> bce-inv; None for a base loss"""
    match = re.fullmatch(r"any_([a-z]+)_[0-9.]+(-inv)?", setting)
    return match.group(1) + (match.group(2) or "") if match else None


def sign_flip(differences):
    """Exact two-sided p of the mean under all 2^n sign changes."""
    d = np.asarray(differences)
    signs = np.array(list(itertools.product((1, -1), repeat=len(d))))
    return float(np.mean(np.abs(signs @ d) >= abs(d.sum()) * (1 - 1e-12)))


def compare(differences):
    """mean, deviation, 95 % interval of the mean, p of t, of sign flips and of Wilcoxon, differences above 0"""
    d = np.asarray(differences, float)
    n, mean = len(d), float(d.mean())
    if n < 2 or d.std() == 0:
        return {"n": n, "mean": mean, "sd": 0.0, "low": mean, "high": mean, "p t": 1.0, "p flip": 1.0, "p wilcoxon": 1.0, "above": int((d > 0).sum())}
    sd = float(d.std(ddof=1))
    half = stats.t.ppf(0.975, n - 1) * sd / np.sqrt(n)
    return {"n": n, "mean": mean, "sd": sd, "low": mean - half, "high": mean + half, "p t": float(stats.ttest_1samp(d, 0).pvalue),
            "p flip": sign_flip(d), "p wilcoxon": float(stats.wilcoxon(d).pvalue), "above": int((d > 0).sum())}


def holm(ps):
    """Adjusted for looking at all of them."""
    order, out, worst = np.argsort(ps), [0.0] * len(ps), 0.0
    for k, i in enumerate(order):
        worst = max(worst, min(1.0, (len(ps) - k) * ps[i]))
        out[i] = worst
    return out


def paired(of, a, b, metric):
    """b - a over the seeds that both have; keys are (who, share, setting)"""
    seeds = sorted(set(of[a]) & set(of[b]))
    return [of[b][s][metric] - of[a][s][metric] for s in seeds]


def write_table(path, rows):
    with open(path + ".part", "w", newline="") as file:
        out = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        out.writeheader()
        for row in rows:
            out.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    os.replace(path + ".part", path)


def summarise(of):
    out = []
    for (who, share, setting), runs in sorted(of.items()):
        row = {"who": who, "negatives": share, "setting": setting, "n": len(runs)}
        for metric in METRICS + ("val F1", "epoch"):
            values = np.array([run[metric] for run in runs.values()], float)
            row[metric] = float(values.mean())
            row[metric + " sd"] = float(values.std(ddof=1)) if len(values) > 1 else 0.0
        out.append(row)
    return out


def test_all(of, shares, settings):
    """Every any-class setting against its base loss; `chosen` marks the lambda with the best mean val F1, which is the comparison that counts."""
    out = []
    for share in shares:
        for base in ("bce", "focal", "bce-inv", "focal-inv"):
            ours = [s for s in settings if base_of(s) == base and ("ours", share, s) in of]
            if not ours or ("ours", share, base) not in of:
                continue
            val = [np.mean([run["val F1"] for run in of["ours", share, s].values()]) for s in ours]
            for s in ours:
                for metric in METRICS:
                    d = paired(of, ("ours", share, base), ("ours", share, s), metric)
                    if d:
                        out.append({"negatives": share, "base": base, "setting": s, "chosen": int(s == ours[int(np.argmax(val))]), "metric": metric,
                                    **compare(d)})
    for metric in {row["metric"] for row in out}:
        mine = [row for row in out if row["metric"] == metric and row["chosen"] and not row["base"].endswith("-inv")]
        for row, p in zip(mine, holm([row["p t"] for row in mine])):
            row["p t, Holm"] = p
    return [{**row, "p t, Holm": row.get("p t, Holm", "")} for row in out]


def compare_peer(of, shares):
    """Ours beside PyTorch's: difference of means, and Welch's t since seeds mean different things to the two."""
    out = []
    for who, share, setting in sorted(of):
        if who != "torch" or ("ours", share, setting) not in of:
            continue
        for metric in MAIN:
            a = np.array([run[metric] for run in of["torch", share, setting].values()])
            b = np.array([run[metric] for run in of["ours", share, setting].values()])
            row = {"negatives": share, "setting": setting, "metric": metric, "n torch": len(a), "n ours": len(b), "torch": float(a.mean()),
                   "torch sd": float(a.std(ddof=1)) if len(a) > 1 else 0.0, "torch min": float(a.min()), "torch max": float(a.max()),
                   "ours": float(b.mean()), "ours sd": float(b.std(ddof=1)) if len(b) > 1 else 0.0, "difference": float(b.mean() - a.mean())}
            row["p Welch"] = float(stats.ttest_ind(b, a, equal_var=False).pvalue) if len(a) > 1 and len(b) > 1 else 1.0
            row["within"] = int(a.min() <= b.mean() <= a.max())
            out.append(row)
    return out


def markdown(shares, settings, summary, tests, peer):
    """The tables of docs/fidelity.md."""
    shown = ("F1", "F2", "mAP", "F1-Neg", "P", "R", "tuned F1", "threshold")
    out = ["| negatives | setting | seeds | " + " | ".join(shown) + " |", "|---|---|---|" + "---|" * len(shown)]
    for share in shares:
        mine = {row["setting"]: row for row in summary if row["who"] == "ours" and row["negatives"] == share}
        for s in settings:
            if s in mine:
                cells = (f"{100 * mine[s][m]:.1f} ± {100 * mine[s][m + ' sd']:.1f}" if m != "threshold" else f"{mine[s][m]:.2f}" for m in shown)
                out.append(f"| {share} % | {plots.name_of(s).replace('|', chr(92) + '|')} | {mine[s]['n']} | " + " | ".join(cells) + " |")
    out += ["", "| negatives | λ chosen on val | metric | gain, points | 95 % | above 0 | p (t) | p (sign flips) | p (Holm) |", "|---|---|---|---|---|---|---|---|---|"]
    for t in tests:
        if t["chosen"] and t["metric"] in MAIN:
            out.append(f"| {t['negatives']} % | {plots.name_of(t['setting']).replace('|', chr(92) + '|')} | {t['metric']} | {100 * t['mean']:+.2f} | "
                       f"{100 * t['low']:+.2f} .. {100 * t['high']:+.2f} | {t['above']} of {t['n']} | {t['p t']:.3f} | {t['p flip']:.3f} | {plots.adjusted(t)} |")
    out += ["", "| negatives | λ chosen on val | " + " | ".join(SPLIT_UP) + " |", "|---|---|" + "---|" * len(SPLIT_UP)]
    for first in (t for t in tests if t["chosen"] and t["metric"] == SPLIT_UP[0]):
        mine = {t["metric"]: t for t in tests if (t["negatives"], t["setting"]) == (first["negatives"], first["setting"])}
        base = next(row for row in summary if (row["who"], row["negatives"], row["setting"]) == ("ours", first["negatives"], first["base"]))
        out.append(f"| {first['negatives']} % | {plots.name_of(first['setting']).replace('|', chr(92) + '|')} | " + " | ".join(
            f"{100 * base[m]:.1f}, {100 * mine[m]['mean']:+.2f} ({100 * mine[m]['low']:+.2f} .. {100 * mine[m]['high']:+.2f})" for m in SPLIT_UP) + " |")
    out += ["", "| negatives | setting | metric | ours | PyTorch | PyTorch's range | p (Welch) |", "|---|---|---|---|---|---|---|"]
    for row in peer:
        if row["metric"] in ("F1", "mAP"):
            out.append(f"| {row['negatives']} % | {plots.name_of(row['setting']).replace('|', chr(92) + '|')} | {row['metric']} | {100 * row['ours']:.1f} ± {100 * row['ours sd']:.1f} "
                       f"({row['n ours']}) | {100 * row['torch']:.1f} ± {100 * row['torch sd']:.1f} ({row['n torch']}) | {100 * row['torch min']:.1f} .. {100 * row['torch max']:.1f} "
                       f"| {row['p Welch']:.2f} |")
    return "\n".join(out) + "\n"


def main():
    folder, prefix = sys.argv[1:3]
    os.makedirs(os.path.dirname(prefix) or ".", exist_ok=True)

    @functools.cache
    def labels(share):
        return dict(zip(*read_table(os.path.join(folder, "data", str(share), "test.csv"))))

    with open(os.path.join(folder, "runs.txt")) as file:  # what study.sh was asked for last; other trainings may lie there
        planned = [os.path.join(folder, "results", "version_" + line.strip().replace(":", "_")) for line in file]
    runs = [run for run in (read_run(path, labels) for path in planned) if run]
    if not runs:
        sys.exit(f"analyse.py: no finished run in {folder}")
    of = defaultdict(dict)
    for run in runs:
        of[run["who"], run["negatives"], run["setting"]][run["seed"]] = run
    shares = sorted({run["negatives"] for run in runs})
    settings = sorted({run["setting"] for run in runs if run["who"] == "ours"}, key=lambda s: (s.endswith("-inv"), base_of(s) or s, base_of(s) is not None, s))
    runs.sort(key=lambda r: (r["who"], r["negatives"], settings.index(r["setting"]) if r["setting"] in settings else 99, r["seed"]))
    summary, tests, peer = summarise(of), test_all(of, shares, settings), compare_peer(of, shares)
    write_table(prefix + "-runs.csv", runs)
    write_table(prefix + "-summary.csv", summary)
    if tests:
        write_table(prefix + "-tests.csv", tests)
    if peer:
        write_table(prefix + "-peer.csv", peer)
    plots.write(prefix + "-tables.md", markdown(shares, settings, summary, tests, peer))
    plots.write_all(prefix, of, shares, settings, summary, tests, peer)
    print(f"{len(runs)} finished trainings: {prefix}-report.html, -figure.svg and tables")
    for row in tests:
        if row["chosen"] and row["metric"] in ("F1", "tuned F1"):
            print(f"{row['negatives']} % negatives, {row['metric']}: {row['setting']} - {row['base']} = {100 * row['mean']:+.2f} points "
                  f"[{100 * row['low']:+.2f}, {100 * row['high']:+.2f}], n = {row['n']}, p = {row['p t']:.3g} (Holm {row['p t, Holm'] or '-'})")


if __name__ == "__main__":
    main()
