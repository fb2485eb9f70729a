"""Python's json.load of one file: time and peak memory. usage: peer_json.py FILE"""
import json
import os
import resource
import sys
import time

start = time.perf_counter()
with open(sys.argv[1], "rb") as file:
    document = json.load(file)
took = time.perf_counter() - start
print("json.load: %.2f s, %.0f MB/s, %.2f s of CPU, %d images, %d annotations, peak RSS %.0f MB" % (
    took, os.path.getsize(sys.argv[1]) / 1e6 / took, time.process_time(), len(document["images"]), len(document["annotations"]),
    resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6))
