"""Tables from the JSON lines that train.sh collects: medians over rounds, ratios to PyTorch's fastest mode, shares of our step.

usage: train_table.py LINES [FP32_GFLOPS [BF16_GFLOPS [AMX_GFLOPS]]]   the machine's multiply-add rates, as bench/fma measured them"""
import json
import statistics
import sys

runs = [json.loads(line) for line in open(sys.argv[1]) if line.startswith("{")]
rates = [float(text) if text else 0 for text in sys.argv[2:]] + [0, 0, 0]
limits = {"32": rates[0], "bf16": max(rates[1:3])}


def setting(run):
    return run["work"], run["model"], run["batch"], run["precision"][:4].rstrip("-")


def median(group, key):
    values = [r[key] for r in group if r.get(key) is not None]
    return statistics.median(values) if values else float("nan")


groups = {}
for run in runs:
    name = run["who"] if run["who"] == "anyclass" else run["mode"]
    groups.setdefault(setting(run), {}).setdefault(name, []).append(run)

print(f"{'work':9} {'model':9} {'batch':>5} {'prec':>4}  {'who':32} {'images/s':>9} {'min..max':>15} {'peak MiB':>8} {'first step s':>12} {'runs':>4}")
for key, by_name in groups.items():
    for name, group in by_name.items():
        rates = [r["images_per_s"] for r in group]
        who = name if name == "anyclass" else f"torch {name}"
        note = "" if name == "anyclass" else " " + "/".join(sorted({" ".join(filter(None, [r["precision"], r.get("optimizer")])) for r in group}))
        print(f"{key[0]:9} {key[1]:9} {key[2]:5} {key[3]:>4}  {(who + note)[:32]:32} {statistics.median(rates):9.2f} {min(rates):7.2f}..{max(rates):6.2f}"
              f" {median(group, 'peak_rss_mib'):8.0f} {median(group, 'first_step_s'):12.2f} {len(group):4}")

print("\nratio to PyTorch's fastest mode (median over median); memory to the same mode's; share of the machine's measured multiply-add rate")
print(f"{'work':9} {'model':9} {'batch':>5} {'prec':>4}  {'fastest mode':14} {'speed':>6} {'memory':>7} {'GFLOP/s':>8} {'of machine':>10}")
for key, by_name in groups.items():
    ours, peers = by_name.get("anyclass"), {n: g for n, g in by_name.items() if n != "anyclass"}
    if not ours or not peers:
        continue
    best = max(peers, key=lambda n: median(peers[n], "images_per_s"))
    # forward, and twice as much backward
    rate = median(ours, "images_per_s") * (ours[0].get("forward_gflop") or float("nan")) * (3 if key[0] == "training" else 1)
    limit = limits.get(key[3])
    print(f"{key[0]:9} {key[1]:9} {key[2]:5} {key[3]:>4}  {best:14} {median(ours, 'images_per_s') / median(peers[best], 'images_per_s'):6.2f}"
          f" {median(ours, 'peak_rss_mib') / median(peers[best], 'peak_rss_mib'):7.2f} {rate:8.1f} {f'{rate / limit:10.0%}' if limit else '         -'}")

print("\nshares of our training step, means over all steps (the rest: optimiser, clipping, agreement, copies)")
for key, by_name in groups.items():
    ours = [r for r in by_name.get("anyclass", []) if r.get("operator_ms")]
    if key[0] != "training" or not ours:
        continue

    def share(pick):
        return statistics.median(pick(r) / (1e3 * r["mean_step_s"]) for r in ours)

    parts = {name: share(lambda r: sum(r["operator_ms"].get(name, [0]))) for name in ours[0]["operator_ms"]}
    parts["data"] = share(lambda r: r["data_ms"])
    parts["ranks"] = share(lambda r: r["ranks_ms"])
    parts["rest"] = 1 - sum(parts.values())
    step = statistics.median(1e3 * r["mean_step_s"] for r in ours)
    print(f"{key[1]:9} {key[2]:5} {key[3]:>4} {step:8.1f} ms  " + ", ".join(f"{n} {p:.1%}" for n, p in sorted(parts.items(), key=lambda x: -x[1]) if p >= 0.002))
