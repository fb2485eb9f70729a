"""The fidelity study's plots (SVG) and report page (one HTML file, no script, nothing loaded). analyse.py has the numbers."""
import html
import math
import os

import numpy as np

LIGHT = {"surface": "#fff", "ink": "#1b2026", "muted": "#5a6470", "line": "#d9dde2", "grid": "#e8ebee", "k0": "#0a4f93", "k1": "#b94d00", "k2": "#007a5f"}
DARK = {"surface": "#171b21", "ink": "#e7eaee", "muted": "#a3adb9", "line": "#343b45", "grid": "#272d36", "k0": "#5aa9f0", "k1": "#f28c3c", "k2": "#3cc4a0"}
# colours stand as such, since not every program that shows an SVG knows variables
COLOURS = """.chart text{fill:%(muted)s}.chart .title{fill:%(ink)s}.chart .back{fill:%(surface)s}.chart .grid{stroke:%(grid)s}.chart .zero{stroke:%(muted)s}
.k0{color:%(k0)s}.k1{color:%(k1)s}.k2{color:%(k2)s}.chart .hollow{fill:%(surface)s}
"""
CHART = """
.chart{font:11px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;font-variant-numeric:tabular-nums}
.chart .title{font-size:12.5px;font-weight:600}.chart .zero{stroke-dasharray:3 3}.chart .mid{text-anchor:middle}.chart .end{text-anchor:end}
.chart .bar{stroke:currentColor;stroke-width:1.8}.chart .dot{fill:currentColor}
.chart .seed{fill:currentColor;fill-opacity:.38}.chart .hollow{stroke:currentColor;stroke-width:1.5}
""" + COLOURS % LIGHT + "@media screen and (prefers-color-scheme:dark){" + COLOURS % DARK + "}\n"


def variables(colours):
    return ";".join(f"--{name}:{value}" for name, value in colours.items())


PAGE = """
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;margin:0 auto;max-width:1080px;padding:1.5rem;background:var(--surface);
color:var(--ink)}h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}p{max-width:46rem}svg{max-width:100%;height:auto}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}th,td{padding:.2rem .6rem;text-align:right;
border-bottom:1px solid var(--line);white-space:nowrap}th:first-child,td:first-child{text-align:left}caption{text-align:left;padding:.4rem 0;color:var(--muted)}
.best{font-weight:700}.chosen{background:var(--grid)}small,.sd{color:var(--muted)}@media print{body{max-width:none}}
"""


def name_of(setting):
    """As the paper writes it."""
    plain = setting.removesuffix("-inv")
    tail = ", β 0.9999" if plain != setting else ""
    if not plain.startswith("any_"):
        return f"J_{plain}{tail}"
    _, base, strength = plain.split("_")
    return f"J_any|{base}, λ {strength}{tail}"


def adjusted(test):
    return f"{test['p t, Holm']:.3g}" if test["p t, Holm"] != "" else ""


def ticks(low, high, most=6):
    raw = (high - low) / most or 1
    step = 10 ** math.floor(math.log10(raw))
    step = next(step * f for f in (1, 2, 2.5, 5, 10) if step * f >= raw)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


class Panel:
    """A box of a drawing with a linear y axis; x is in pixels."""

    def __init__(self, x, y, width, height, low, high):
        self.x, self.y, self.width, self.height, self.low, self.high = x, y, width, height, low, high
        self.out = []

    def place(self, value):
        return self.y + self.height * (self.high - value) / (self.high - self.low)

    def add(self, text):
        self.out.append(text)

    def text(self, x, y, text, kind=""):
        self.add(f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{html.escape(text)}</text>')

    def line(self, x0, y0, x1, y1, kind):
        self.add(f'<path d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}" class="{kind}"/>')

    def circle(self, x, value, radius, kind):
        self.add(f'<circle cx="{x:.1f}" cy="{self.place(value):.1f}" r="{radius}" class="{kind}"/>')

    def axis(self, labels=True):
        for mark in ticks(self.low, self.high):
            y = self.place(mark)
            self.line(self.x, y, self.x + self.width, y, "zero" if abs(mark) < 1e-12 else "grid")
            if labels:
                self.text(self.x - 6, y + 3.5, f"{round(mark, 6) + 0:g}".replace("-", "\u2212"), "end")


def drawing(width, height, parts, label):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
            f'aria-label="{html.escape(label)}"><style>{CHART}</style><rect class="back" width="{width}" height="{height}"/>{"".join(parts)}</svg>\n')


def span(values):
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 1
    return low - margin, high + margin


def gains(of, tests, shares, metrics, labels):
    """What the any-class term adds to each base loss, by lambda: a column of panels per share, a row per metric; dots are seeds, bars 95 % intervals."""
    width, left, top, gap, height = 900, 56, 46, 22, 150
    each = (width - left - 12 - gap * (len(shares) - 1)) / len(shares)
    parts = []
    for r, (metric, label) in enumerate(zip(metrics, labels)):
        rows = [t for t in tests if t["metric"] == metric and not t["base"].endswith("-inv")]
        seeds = {(t["negatives"], t["setting"]): 100 * np.array(seed_gains(of, t)) for t in rows}
        low, high = span([v for values in seeds.values() for v in values] + [100 * t[k] for t in rows for k in ("low", "high")] + [0])
        y = top + r * (height + 44)
        for c, share in enumerate(shares):
            panel = Panel(left + c * (each + gap), y, each, height, low, high)
            panel.axis(c == 0)
            if r == 0:
                panel.text(panel.x, y - 22, f"{share} % of the images without a label", "title")
            if c == 0:
                panel.text(left, y - 7, label)
            mine = [t for t in rows if t["negatives"] == share]
            strengths = sorted({t["setting"].split("_")[2] for t in mine})
            for t in mine:
                k = strengths.index(t["setting"].split("_")[2])
                middle = panel.x + each * (k + 0.5) / len(strengths) + (-9 if t["base"] == "bce" else 9)
                panel.add(f'<g class="{"k0" if t["base"] == "bce" else "k1"}">')
                for i, value in enumerate(seeds[share, t["setting"]]):
                    panel.circle(middle - 5 + 10 * i / max(1, len(seeds[share, t["setting"]]) - 1), value, 1.9, "seed")
                panel.line(middle, panel.place(100 * t["low"]), middle, panel.place(100 * t["high"]), "bar")
                panel.circle(middle, 100 * t["mean"], 4, "dot" if t["chosen"] else "hollow")
                panel.add("</g>")
            if r == len(metrics) - 1:
                for k, strength in enumerate(strengths):
                    panel.text(panel.x + each * (k + 0.5) / max(1, len(strengths)), y + height + 16, f"λ {strength}", "mid")
            parts += panel.out
    bottom = top + len(metrics) * (height + 44) + 2
    parts.append(f'<g class="k0"><circle cx="{left + 4}" cy="{bottom - 4}" r="4" class="dot"/></g><text x="{left + 14}" y="{bottom}">J_any|bce − J_bce</text>'
                 f'<g class="k1"><circle cx="{left + 150}" cy="{bottom - 4}" r="4" class="dot"/></g><text x="{left + 160}" y="{bottom}">J_any|focal − J_focal</text>'
                 f'<text x="{left + 310}" y="{bottom}">filled: the λ chosen on val; bars: 95 % interval of the mean over seeds; small dots: seeds</text>')
    return drawing(width, bottom + 12, parts, "What the any-class term adds, by lambda and share of negatives")


def seed_gains(of, test):
    a, b = of["ours", test["negatives"], test["base"]], of["ours", test["negatives"], test["setting"]]
    return [b[s][test["metric"]] - a[s][test["metric"]] for s in sorted(set(a) & set(b))]


def values(of, shares, settings, metric):
    """A metric of every training, by setting; PyTorch's beside ours."""
    width, left, top, height, gap = 900, 56, 30, 190, 22
    each = (width - left - 12 - gap * (len(shares) - 1)) / len(shares)
    every = [100 * run[metric] for runs in of.values() for run in runs.values() if np.isfinite(run[metric])]
    low, high = span(every)
    parts = []
    for c, share in enumerate(shares):
        panel = Panel(left + c * (each + gap), top, each, height, low, high)
        panel.axis(c == 0)
        panel.text(panel.x, top - 10, f"{metric}, {share} % negatives", "title")
        for k, setting in enumerate(settings):
            middle = panel.x + each * (k + 0.5) / len(settings)
            for who, shift, kind in (("ours", -3, "k1" if "focal" in setting else "k0"), ("torch", 5, "k2")):
                runs = of.get((who, share, setting), {})
                panel.add(f'<g class="{kind}">')
                for run in runs.values():
                    panel.circle(middle + shift, 100 * run[metric], 2.2, "seed")
                if runs:
                    mean = panel.place(100 * np.mean([run[metric] for run in runs.values()]))
                    panel.line(middle + shift - 5, mean, middle + shift + 5, mean, "bar")
                panel.add("</g>")
            x, y = middle + 3, top + height + 10
            panel.add(f'<text class="end" transform="translate({x:.1f} {y:.1f}) rotate(-55)">{html.escape(name_of(setting))}</text>')
        parts += panel.out
    return drawing(width, top + height + 92, parts, f"{metric} of every training")


def table(caption, header, rows):
    head = "".join(f"<th>{html.escape(h)}</th>" for h in header)
    body = "".join(f'<tr{attribute}>{"".join(cells)}</tr>' for attribute, cells in rows)
    return f'<div class="wide"><table><caption>{html.escape(caption)}</caption><tr>{head}</tr>{body}</table></div>'


def summary_table(summary, share, settings, metrics):
    rows = [row for row in summary if row["negatives"] == share and row["who"] == "ours"]
    rows.sort(key=lambda row: settings.index(row["setting"]))
    rows += [row for row in summary if row["negatives"] == share and row["who"] == "torch"]
    best = {m: max(row[m] for row in rows if row["who"] == "ours") for m in metrics}
    out = []
    for row in rows:
        name = name_of(row["setting"]) + (" (PyTorch)" if row["who"] == "torch" else "")
        cells = [f"<td>{html.escape(name)}</td><td>{row['n']}</td>"]
        for m in metrics:
            mark = ' class="best"' if row["who"] == "ours" and row[m] == best[m] else ""
            cells.append(f'<td{mark}>{100 * row[m]:.2f} <span class="sd">± {100 * row[m + " sd"]:.2f}</span></td>')
        cells.append(f"<td>{100 * row['val F1']:.2f}</td><td>{row['epoch'] + 1:.1f}</td>")
        out.append(("", cells))
    return table(f"{share} % of the images without a label: mean and deviation over seeds, per cent", ["setting", "seeds", *metrics, "val F1", "epoch"], out)


def test_table(tests, metric):
    out = []
    for t in tests:
        if t["metric"] != metric:
            continue
        out.append((' class="chosen"' if t["chosen"] else "",
                    [f"<td>{t['negatives']} %, {html.escape(name_of(t['setting']))} - {name_of(t['base'])}</td>",
                     f"<td>{100 * t['mean']:+.2f}</td><td>{100 * t['low']:+.2f} .. {100 * t['high']:+.2f}</td><td>{t['above']} of {t['n']}</td>",
                     f"<td>{t['p t']:.3g}</td><td>{t['p flip']:.3g}</td><td>{t['p wilcoxon']:.3g}</td><td>{adjusted(t)}</td>"]))
    return table(f"{metric}: paired over seeds, points; shaded: the lambda chosen on val", ["difference", "mean", "95 %", "above 0", "p (t)", "p (sign flips)",
                 "p (Wilcoxon)", "p (t, Holm)"], out)


def peer_table(peer):
    out = [("", [f"<td>{row['negatives']} %, {html.escape(name_of(row['setting']))}, {row['metric']}</td>",
                 f"<td>{100 * row['ours']:.2f} ± {100 * row['ours sd']:.2f}</td><td>{100 * row['torch']:.2f} ± {100 * row['torch sd']:.2f}</td>",
                 f"<td>{100 * row['torch min']:.2f} .. {100 * row['torch max']:.2f}</td><td>{100 * row['difference']:+.2f}</td>",
                 f"<td>{row['p Welch']:.3g}</td><td>{'yes' if row['within'] else 'no'}</td>"]) for row in peer]
    return table("Ours and PyTorch's with the same images, initial network and options; per cent", ["setting and metric", "ours", "PyTorch", "PyTorch's range",
                 "difference", "p (Welch)", "our mean in PyTorch's range"], out)


def write(path, text):
    with open(path + ".part", "w") as file:
        file.write(text)
    os.replace(path + ".part", path)


def write_all(prefix, of, shares, settings, summary, tests, peer):
    n = {who: sum(len(runs) for key, runs in of.items() if key[0] == who) for who in ("ours", "torch")}
    body = [f"<h1>Fidelity study: the any-class presence likelihood on scenes of handwritten digits</h1><p>{n['ours']} trainings with anyclass, {n['torch']} with "
            "PyTorch; scores of the test split at the epoch with the best macro F1 on val. What was compared, why, and what it means: "
            "<code>docs/fidelity.md</code>. F1, F2, P and R are macro means at threshold 0.5; tuned: at thresholds per class that were tuned on val; F1-Neg is the "
            "F1 of “the image shows nothing”; presence AUC: of the largest score, for “it shows something”; mAP positive: over the images that do.</p>"]
    if tests:
        figure = gains(of, tests, shares, ("F1", "tuned F1"), ("macro F1 at threshold 0.5, points", "macro F1 at thresholds tuned on val, points"))
        write(prefix + "-figure.svg", figure)
        body += ["<h2>What the any-class term adds</h2>", figure, gains(of, tests, shares, ("mAP", "F2", "F1-Neg"), ("mAP, points", "macro F2 at threshold 0.5, points",
                                                                                                       "F1-Neg at threshold 0.5, points"))]
    metrics = ("F1", "F2", "mAP", "F1-Neg", "P", "R", "tuned F1", "tuned F1-Neg")
    body.append("<h2>Values</h2>")
    body += [summary_table(summary, share, settings, metrics) for share in shares]
    body += [values(of, shares, settings, metric) for metric in ("F1", "mAP", "F1-Neg", "tuned F1")]
    if tests:
        body.append("<h2>Tests</h2>")
        body += [test_table(tests, metric) for metric in ("F1", "tuned F1", "mAP", "F2", "F1-Neg", "presence AUC", "mAP positive")]
    if peer:
        body += ["<h2>PyTorch</h2>", peer_table(peer)]
    write(prefix + "-report.html", f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
          f"<title>anyclass: fidelity study</title><style>:root{{color-scheme:light dark;{variables(LIGHT)}}}"
          f"@media screen and (prefers-color-scheme:dark){{:root{{{variables(DARK)}}}}}{PAGE}</style><body>{''.join(body)}</body></html>\n")
