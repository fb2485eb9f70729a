"""JSON lines of bench/step and bench/peer_gpu.py on standard input as rows of a table; other lines as they are."""
import json
import sys

for line in sys.stdin:
    if not line.startswith("{"):
        print(line.strip()[:200], flush=True)
        continue
    r = json.loads(line)
    who = " ".join(filter(None, [r.get("who", "anyclass"), r.get("mode"), r.get("note")]))
    milliseconds = r.get("step_ms", 1e3 * r.get("step_s", 0))
    memory = f"peak {r['peak_mib']} MiB ({r['reserved_mib']} reserved)" if "peak_mib" in r else f"arena {r['arena_mib']} + parameters {r['params_mib']} MiB"
    if r.get("last_loss"):
        memory += f"  loss {r['first_loss']:.4f} -> {r['last_loss']:.4f}"
    print(f"{r['model']:10} {r.get('work', r.get('ours')):9} {r['precision']:4} {who:40} {r['images_per_s']:9.1f} img/s {milliseconds:8.2f} ms  {memory}", flush=True)
