# anyclass-weights, train --init and infer --weights: what is exported gives the same scores, and wrong files are refused.
. tests/tap.sh
. tests/infer/setup.sh
weights_program=$(realpath "$BIN/anyclass-weights")
F=tests/weights/fixtures
make_version 14 5 2
last=$TMP/logs/version_a/last.h5
best=$(echo "$TMP"/logs/version_a/epoch=*-val_f1=*.h5)

# ---- export, list, compare ----
tap_ok "export" "$weights_program" export "$best" "$TMP/best.safetensors"
tap_ok "nothing else is left" no_parts "$TMP"
tap_ok "equals the checkpoint" "$weights_program" compare "$best" "$TMP/best.safetensors"
tap_says ' 0 differ, 20 that one side' "but for the counters of 20 batch norms"
tap_refused 2 'there already' "a file that is there" "$weights_program" export "$last" "$TMP/best.safetensors"
cp "$TMP/best.safetensors" "$TMP/again.safetensors"
tap_ok "--overwrite" "$weights_program" export "$best" "$TMP/again.safetensors" --overwrite
tap_ok "gives the same bytes" cmp "$TMP/best.safetensors" "$TMP/again.safetensors"
tap_ok "--dry_run" "$weights_program" export "$best" "$TMP/dry.safetensors" --dry_run
tap_ok "writes nothing" test ! -e "$TMP/dry.safetensors"
tap_refused 4 'none' "a folder that is not there" "$weights_program" export "$best" "$TMP/none/x.safetensors"
tap_refused 3 'no checkpoint' "export of what is no checkpoint" "$weights_program" export "$TMP/best.safetensors" "$TMP/x.safetensors"
tap_ok "on two ranks" ranks 2 "$weights_program" list "$best"
tap_says 'conv1.weight \[64, 3, 7, 7\]' "list has names and shapes"
tap_ok "list --json" "$weights_program" list "$TMP/best.safetensors" --json
tap_says '"model": "resnet18"' "has the metadata"
tap_ok "list of a Lightning file" "$weights_program" list "$F/lightning.ckpt" --json
tap_says '"criterion": "<torch.nn.modules' "has its hyper-parameters, objects by name"
if ! cmp -s "$best" "$last"; then
    tap_refused 3 'differ in' "other weights" "$weights_program" compare "$best" "$last"
    tap_ok "equal within a tolerance" "$weights_program" compare "$best" "$last" --tolerance 1e9
fi
tap_ok "views of larger tensors" "$weights_program" compare "$F/plain.pth" "$F/views.pth"
tap_refused 3 'differ in' "other names" "$weights_program" compare "$F/plain.pth" "$best"
tap_ok "half and float of the same numbers" "$weights_program" compare "$F/half.pth" "$F/double.safetensors"
tap_refused 2 'none of export' "an unknown command" "$weights_program" import x
tap_refused 2 'it is: anyclass-weights compare A B' "a file too few" "$weights_program" compare "$best"
tap_refused 3 'torch.save(torch.load(' "the old format" "$weights_program" list "$F/legacy.pth"
tap_refused 4 'cannot be opened' "no file" "$weights_program" list "$TMP/none"

# ---- infer --weights ----
tap_ok "scores of the checkpoint" ranks 2 "$infer_program" --checkpoint "$best" --data_root "$TMP/s" --results_output "$TMP/r"
tap_ok "scores of the export" ranks 2 "$infer_program" --weights "$TMP/best.safetensors" --data_root "$TMP/s" --results_output "$TMP/w"
tap_ok "are the same bits" same_rows "$TMP/r" "$TMP/w" val_f1_Val best_Val
tap_ok "again" ranks 1 "$infer_program" --weights "$TMP/best.safetensors" --data_root "$TMP/s" --results_output "$TMP/w"
tap_says 'complete already' "nothing is left to do"
cp "$TMP/best.safetensors" "$TMP/other.safetensors"; "$weights_program" export "$last" "$TMP/other.safetensors" --overwrite 2>/dev/null
mkdir "$TMP/o"; cp "$TMP/other.safetensors" "$TMP/o/best.safetensors"
cmp -s "$TMP/other.safetensors" "$TMP/best.safetensors" || tap_refused 2 'another checkpoint' "other weights of that name" ranks 1 "$infer_program" --weights "$TMP/o/best.safetensors" --data_root "$TMP/s" --results_output "$TMP/w"
tap_ok "pictures with the export, which says classes, size and normalisation" "$infer_program" --weights "$TMP/best.safetensors" --images "$TMP/data/images" --results_output "$TMP/p"
W=("$infer_program" --data_root "$TMP/s" --results_output "$TMP/x")
tap_refused 2 'give --model' "a file that does not say its model" "${W[@]}" --weights "$F/plain.pth"
tap_refused 2 'says that it is of a resnet18' "another model than the file says" "${W[@]}" --weights "$TMP/best.safetensors" --model resnet50
tap_refused 3 'conv1.weight has the shape \[4, 3, 3, 3\], in resnet18 it is \[64, 3, 7, 7\]' "weights of something else" "${W[@]}" --weights "$F/plain.pth" --model resnet18
tap_refused 3 'plain.pth' "by --dry_run too" "${W[@]}" --weights "$F/plain.pth" --model resnet18 --dry_run
tap_refused 2 'give it as --checkpoint' "a checkpoint as weights" "${W[@]}" --weights "$best"
tap_refused 2 'exclude each other' "weights and a checkpoint" "${W[@]}" --weights "$F/plain.pth" --checkpoint "$best"
tap_refused 2 'for --weights' "--model of a checkpoint" "${W[@]}" --checkpoint "$best" --model resnet18
tap_refused 2 'none of' "an unknown model" "${W[@]}" --weights "$F/plain.pth" --model resnet
tap_refused 2 'which classes' "pictures and a file that says nothing" "$infer_program" --weights "$F/plain.pth" --model resnet18 --images "$TMP/data/images" --results_output "$TMP/x"
size=$(stat -c %s "$TMP/best.safetensors"); head -c $((size - 100)) "$TMP/best.safetensors" >"$TMP/cut.safetensors"
tap_refused 3 'cut.safetensors' "a file that was cut" ranks 2 "${W[@]}" --weights "$TMP/cut.safetensors"
tap_ok "no scores of what was refused" test -z "$(find "$TMP/x" -name '*.csv' 2>/dev/null)"

# ---- train --init ----
T=("$BIN/anyclass-train" --data_root "$TMP/s" --log_save_dir "$TMP/logs" --model resnet18 --batch_size 8 --augment none --optimizer adamW)
tap_ok "a training from the export" "${T[@]}" --version_name i1 --max_epochs 1 --learning_rate 1e-12 --weight_decay 0 --init "$TMP/best.safetensors"
tap_ok "begins with these weights" "$weights_program" compare "$TMP/logs/version_i1/last.h5" "$best" --tolerance 1e9
differences() { "$weights_program" compare "$1" "$2" --tolerance "$3" 2>/dev/null | grep -v running_ | grep -c ' elements differ$'; }
tap_ok "and hardly moves with a rate of 1e-12" test "$(differences "$TMP/logs/version_i1/last.h5" "$best" 1e-7)" = 0
tap_ok "a training from random weights" "${T[@]}" --version_name i0 --max_epochs 1 --learning_rate 1e-12 --weight_decay 0
tap_ok "is elsewhere" test "$(differences "$TMP/logs/version_i0/last.h5" "$best" 1e-7)" -gt 10
tap_ok "the same on two ranks, --checkpoint auto" ranks 2 "${T[@]}" --version_name i2 --init "$TMP/best.safetensors" --checkpoint auto --max_epochs 1
tap_ok "and again" ranks 2 "${T[@]}" --version_name i2 --init "$TMP/best.safetensors" --checkpoint auto --max_epochs 2
tap_says 'are not read again' "continues, and says that --init is over"
tap_ok "with a new head" "${T[@]}" --version_name i3 --max_epochs 1 --learning_rate 1e-12 --weight_decay 0 --init "$TMP/best.safetensors" --new_head
tap_says 'the last layer, fc, begins anew' "which is said"
tap_ok "the head alone is another" test "$(differences "$TMP/logs/version_i3/last.h5" "$best" 1e-7)" = 2
tap_refused 2 'give one of them' "--init and --checkpoint" "${T[@]}" --version_name x --init "$TMP/best.safetensors" --checkpoint "$last"
tap_refused 3 'conv1.weight' "weights of something else" ranks 2 "${T[@]}" --version_name x --init "$F/plain.pth"
tap_refused 3 'conv1.weight' "by --dry_run too" "${T[@]}" --version_name x --init "$F/plain.pth" --dry_run
tap_refused 4 'none.pth' "no file" "${T[@]}" --version_name x --init "$TMP/none.pth"
tap_ok "nothing is left of what was refused" test ! -e "$TMP/logs/version_x"
tap_done
