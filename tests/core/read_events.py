"""Reads what write_events wrote with TensorBoard's own readers, for event_files.t. usage: read_events.py FOLDER

Two readers: EventAccumulator, which scripts use, and the one behind the `tensorboard` program's pages. Both must show
steps 0 to 5 of the first session, 6 and 7 of the second (whose last record is cut), 8 to 10 of the third."""
import sys

from tensorboard.backend.event_processing import event_accumulator, event_multiplexer, plugin_event_multiplexer
from tensorboard.plugins.text import text_plugin
from tensorboard.util import tensor_util

folder = sys.argv[1]
wanted = [(s, (0 if s < 6 else 100 if s < 8 else 200) + 0.5 * s) for s in range(11)]

accumulator = event_accumulator.EventAccumulator(folder, size_guidance={"scalars": 0, "tensors": 0})
accumulator.Reload()
assert accumulator.file_version == 2.0, accumulator.file_version
assert accumulator.Tags()["scalars"] == ["train/loss", "learning_rate"], accumulator.Tags()
assert [(e.step, e.value) for e in accumulator.Scalars("train/loss")] == wanted, accumulator.Scalars("train/loss")
assert [e.step for e in accumulator.Scalars("learning_rate")] == list(range(11))
assert all(abs(e.value - 1e-3) < 1e-9 for e in accumulator.Scalars("learning_rate"))

pages = plugin_event_multiplexer.EventMultiplexer(tensor_size_guidance={"scalars": 0, "text": 0})
pages.AddRun(folder, "run")
pages.Reload()
got = [(e.step, float(tensor_util.make_ndarray(e.tensor_proto))) for e in pages.Tensors("run", "train/loss")]
assert got == wanted, got
assert set(pages.PluginRunToTagToContent("scalars")["run"]) == {"train/loss", "learning_rate"}
assert set(pages.PluginRunToTagToContent("text")["run"]) == {"options"}
texts = [(e.step, tensor_util.make_ndarray(e.tensor_proto)) for e in pages.Tensors("run", "options")]
assert [s for s, _ in texts] == [0, 6, 8], texts
html = text_plugin.text_array_to_html(texts[0][1], enable_markdown=True)
assert "--model resnet50\n--batch_size &lt;8&gt; *2*" in html and "<pre>" in html, html
print("all as written")
