"""Our side of the training benchmarks: runs anyclass-train (or anyclass-infer) and prints what it says about itself as one JSON
line, like peer_train.py. usage: our_train.py BATCH MODEL PRECISION COMMAND [ARGUMENT...]

Training must be given --log_every 1 and --profile: images per second are those of the median step behind the first two."""
import json
import re
import resource
import subprocess
import sys
import time

batch, model, precision, command = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]
begin = time.time()
process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
rates, shares, waits, first_step_s, gflop, whole, lines = [], {}, [0.0, 0.0], None, None, None, []
for line in process.stderr:
    lines.append(line)
    if found := re.search(r"step \d+/\d+: .*?([\d.]+) images/s", line):
        first_step_s = first_step_s or time.time() - begin
        rates.append(float(found[1]))
    elif found := re.search(r"profile: (\S+) +forward +([\d.]+) ms, backward +([\d.]+) ms", line):
        shares[found[1]] = [float(found[2]), float(found[3])]
    elif found := re.search(r"per step ([\d.]+) ms waiting for data, ([\d.]+) ms", line):
        waits = [float(found[1]), float(found[2])]
    elif found := re.search(r"([\d.]+) GFLOP forward per image", line):
        gflop = float(found[1])
    elif found := re.search(r"images in .*\(([\d.]+) images/s\)", line):
        whole = float(found[1])
if process.wait() != 0:
    sys.exit("".join(lines[-5:]))
training = bool(rates)
steps = sorted(batch / r for r in rates[2:]) if training else [batch / whole]
median = steps[len(steps) // 2]
print(json.dumps({
    "who": "anyclass", "mode": "", "model": model, "batch": batch, "precision": precision, "work": "training" if training else "inference",
    "images_per_s": round(batch / median, 3), "step_s": round(median, 4), "first_step_s": first_step_s and round(first_step_s, 2),
    "peak_rss_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
    "operator_ms": shares, "data_ms": waits[0], "ranks_ms": waits[1], "forward_gflop": gflop}))
