# Each call that changes a file in the output folder fails once, as on a full disk, and kills the process once: exit code 4 with one
# line, and the same command then ends with the scores that nothing ever disturbed. CALLS=1 tries every one, the default every eleventh.
. tests/tap.sh
. tests/infer/setup.sh
every=${CALLS:-11}
make_version 12 2 2
cp "$TMP"/logs/version_a/epoch=*-val_f1=*.h5 "$TMP/second.h5" # one checkpoint under two names
cp "$TMP/second.h5" "$TMP/first.h5"
mkdir "$TMP/pictures"
cp "$(ls "$TMP"/data/images/*.jpg | head -1)" "$TMP/pictures/good.jpg"; cp "$(ls "$TMP"/data/images/*.jpg | tail -1)" "$TMP/pictures/b.jpg"
head -c 300 "$TMP/pictures/good.jpg" >"$TMP/pictures/cut.jpg"
options=(--checkpoint "$TMP/first.h5" "$TMP/second.h5" --batch_size 3)
program=$BUILD/tests/infer/failing_calls
run() { # HOW AT KIND
    local input=(--data_root "$TMP/s"); [ "$3" = shards ] || input=(--images "$TMP/pictures" --max_bad 1)
    HOW=$1 AT=$2 FOLDER=$TMP/out "$program" "${options[@]}" "${input[@]}" --results_output "$TMP/out" >"$TMP/said" 2>&1
}
contents() { (cd "$1" && for file in *; do echo "$file $(cksum <"$file")"; done); }
scores() { tail -qn +2 "$1"/resnet18_"$2"_*_sigmoid.rank*.csv | LC_ALL=C sort; }
same() { for k in first second; do [ -n "$(scores "$TMP/whole" "$k")" ] && diff <(scores "$TMP/whole" "$k") <(scores "$TMP/out" "$k") || return 1; done; no_parts "$TMP/out"; }
for kind in shards pictures; do
    rm -rf "$TMP/out"; run none 0 $kind || cat "$TMP/said"
    rm -rf "$TMP/whole"; mv "$TMP/out" "$TMP/whole"
    run count 0 $kind
    n=$(grep -o '^[0-9]* calls' "$TMP/said" | cut -d' ' -f1)
    tap_ok "$kind: there are calls to fail: $n" test "${n:-0}" -gt 40
    for how in kill error short; do
        problem= n_tried=0
        for ((at = 1 + every / 2; at <= n; at += every)); do
            rm -rf "$TMP/out"; status=0; run $how $at $kind || status=$?
            n_tried=$((n_tried + 1))
            case $how-$status in
                kill-137 | kill-0) ;;
                *-0) ;; # of a call whose failure loses nothing
                *-4) [ "$(grep -c 'error: ' "$TMP/said")" = 1 ] || problem+=" $at: no line, or more than one" ;;
                *) problem+=" $at: exit code $status: $(tail -1 "$TMP/said")" ;;
            esac
            ! grep -q 'warning: .*inference.lock: cannot be removed' "$TMP/said" || rm "$TMP/out/inference.lock"
            [ "$status" != 0 ] || same >/dev/null || problem+=" $at: exit code 0 ($(grep -o '^failed.*' "$TMP/said")) without all scores"
            cp -r "$TMP/out" "$TMP/before" 2>/dev/null
            run none 0 $kind || problem+=" $at: the next run ends with $?: $(tail -1 "$TMP/said")"
            same >"$TMP/diff" || problem+=" $at: not the same scores: $(head -3 "$TMP/diff")"
            grep -q '"finished": true' "$TMP/out/resnet18_second_"*_scores.json || problem+=" $at: not finished"
            for file in "$TMP/before"/*.csv; do # what was complete is kept
                [ ! -e "$file" ] || cmp -s "$file" "$TMP/out/${file##*/}" || problem+=" $at: ${file##*/} was complete and is gone"
            done
            rm -rf "$TMP/before"
        done
        [ -z "$problem" ] || echo "#$problem"
        tap_ok "$kind, $how: $n_tried of $n calls" test -z "$problem"
    done
done
tap_done
