"""Reads a version's event files or metrics.csv, for records.t. usage: read_records.py tensorboard|pandas FOLDER N_STEPS

The training has three steps an epoch, each with its own record."""
import sys

package, folder, n_steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
ends = list(range(3, n_steps + 1, 3))
if package == "pandas":
    import pandas

    table = pandas.read_csv(folder + "/metrics.csv")
    assert table["step"].tolist() == ends, table
    assert all(kind.kind in "if" for kind in table.dtypes), table.dtypes
    assert (table["train_loss"] > 0).all() and (table["val_f1"] >= 0).all(), table
else:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(folder, size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    for tag in tags["scalars"]:
        steps = [e.step for e in events.Scalars(tag)]
        assert steps == (list(range(1, n_steps + 1)) if tag.startswith("step/") else ends), (tag, steps)
    assert {"step/loss", "step/learning_rate", "step/images_per_s", "train_loss", "val_loss", "val_bce", "val_ap", "val_f1", "val_f2"} <= set(tags["scalars"]), tags
    assert "options" in tags["tensors"], tags
    with open(folder + "/metrics.csv") as rows:
        header, *lines = [line.strip().split(",") for line in rows]
    column = [float(line[header.index("val_loss")]) for line in lines]
    assert all(abs(a - e.value) < 1e-6 * abs(a) for a, e in zip(column, events.Scalars("val_loss"))), column
