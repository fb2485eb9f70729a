# TensorBoard's own readers on the event files of a run that was resumed twice. They need the Python package `tensorboard`
# (PEER_PYTHON: the interpreter that has it); test_event_file.c needs nothing.
. tests/tap.sh
python=${PEER_PYTHON:-python3}
mkdir "$TMP/run"
tap_ok "three sessions are written" "$BUILD/tests/core/write_events" "$TMP/run"
if "$python" -c 'import tensorboard' 2>"$TMP/none"; then
    tap_ok "TensorBoard's readers show each step once, from its latest session, and the text" "$python" tests/core/read_events.py "$TMP/run"
else
    tap_skip "TensorBoard's readers" "no Python package tensorboard (PEER_PYTHON)"
fi
tap_done
