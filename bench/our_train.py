"""Our side of the training benchmarks: runs anyclass-train (or anyclass-infer) and prints what it says about itself as one JSON
line, like peer_train.py. usage: our_train.py BATCH MODEL PRECISION COMMAND [ARGUMENT...]

Training must be given --log_every 1 and --profile: images per second are those of the median step behind the first two, by the
times at which its lines come (what they say is rounded)."""
import json
import re
import resource
import subprocess
import sys
import time

batch, model, precision, command = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]
begin = time.time()
process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
ends, shares, waits, gflop, whole, lines = [], {}, [0.0, 0.0], None, None, []
for line in process.stderr:
    lines.append(line)
    if re.search(r"epoch \d+ step \d+/\d+: loss", line):
        ends.append(time.time() - begin)
    elif found := re.search(r"profile: (\S+) +forward +([\d.]+) ms, backward +([\d.]+) ms", line):
        shares[found[1]] = [float(found[2]), float(found[3])]
    elif found := re.search(r"per step ([\d.]+) ms waiting for data, ([\d.]+) ms", line):
        waits = [float(found[1]), float(found[2])]
    elif found := re.search(r"([\d.]+) GFLOP forward per image", line):
        gflop = float(found[1])
    elif found := re.search(r"images in .*\(([\d.]+) images/s\)", line):
        whole = float(found[1])
if process.wait() != 0:
    sys.exit("".join(lines[-5:]).strip())
steps = [b - a for a, b in zip(ends, ends[1:])]
training = len(steps) > 1
if not training:
    steps = [batch / whole] * 2
timed = sorted(steps[1:])
median = timed[len(timed) // 2]
print(json.dumps({
    "who": "anyclass", "mode": "", "model": model, "batch": batch, "precision": precision, "work": "training" if training else "inference",
    "images_per_s": round(batch / median, 3), "step_s": round(median, 4), "first_step_s": round(ends[0], 2) if training else None, "mean_step_s": round(sum(steps) / len(steps), 4),
    "peak_rss_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
    "operator_ms": shares, "data_ms": waits[0], "ranks_ms": waits[1], "forward_gflop": gflop}))
