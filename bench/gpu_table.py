"""JSON lines of bench/step and bench/peer_gpu.py on standard input as rows of a table; other lines as they are."""
import json
import sys

PEAK = {"H100": 989.4, "H200": 989.4, "A100": 312.0}  # dense bf16, TFLOP/s, of the SXM modules' datasheets
gflop = {}  # per image, of model and work
peak = None
for line in sys.stdin:
    if not line.startswith("{"):
        print(line.strip()[:200], flush=True)
        continue
    r = json.loads(line)
    who = " ".join(filter(None, [r.get("who", "anyclass"), r.get("mode"), r.get("note")]))
    milliseconds = r.get("step_ms", 1e3 * r.get("step_s", 0))
    memory = f"peak {r['peak_mib']} MiB ({r['reserved_mib']} reserved)" if "peak_mib" in r else f"arena {r['arena_mib']} + parameters {r['params_mib']} MiB"
    work = r.get("work", r.get("ours"))
    if "gflop_per_image" in r:
        gflop[r["model"], work] = r["gflop_per_image"]
        peak = next((v for k, v in PEAK.items() if k in r["device"]), peak)
    if peak and r["precision"] in ("bf16", "f16") and (r["model"], work) in gflop:
        memory += f"  MFU {100 * gflop[r['model'], work] * r['images_per_s'] / 1e3 / peak:.1f} %"
    if r.get("last_loss"):
        memory += f"  loss {r['first_loss']:.4f} -> {r['last_loss']:.4f}"
    print(f"{r['model']:10} {work:9} {r['precision']:4} {who:40} {r['images_per_s']:9.1f} img/s {milliseconds:8.2f} ms  {memory}", flush=True)
