#!/usr/bin/env bash
# --max_fbeta: thresholds tuned on Val and applied to Test, against a plain search in awk; over the grid and over all scores;
# found by version and checkpoint below --results_output; refused where Val is not there.
. tests/tap.sh
evaluate=$BIN/anyclass-evaluate
# draw SPLIT N SEED: labels and scores in steps of 1/64 of four classes, the last without a positive
draw() {
    mkdir -p "$TMP/r/version_a"
    awk -v n="$2" -v state="$3" -v split_name="$1" -v labels="$TMP/labels_$1.csv" -v scores="$TMP/r/version_a/m_val_f1_$1_sigmoid.csv" '
    function draw() { state = (state * 1103515245 + 12345) % 2147483648; return int(state / 65536) }
    BEGIN {
        print "Filename,w,x,y,z" > labels; print "Filename,w,x,y,z" > scores
        for (i = 0; i < n; i++) {
            line = row = split_name i ".png"
            for (c = 0; c < 4; c++) {
                label = c < 3 && draw() % (3 + 3 * c) == 0
                score = (draw() % 32 + draw() % 20 + (label ? 12 : 0)) / 64
                line = line "," label; row = row "," score
            }
            print line > labels; print row > scores
        }
    }'
}
draw Val 400 11
draw Test 300 12
# best BETA GRID|SCORES: "threshold F" of each class on Val
best() {
    paste -d, "$TMP/labels_Val.csv" "$TMP/r/version_a/m_val_f1_Val_sigmoid.csv" | tail -n +2 | awk -F, -v beta="$1" -v kind="$2" '
    { n++; for (c = 0; c < 4; c++) { y[n, c] = $(2 + c); s[n, c] = $(7 + c) + 0 } }
    END {
        for (c = 0; c < 4; c++) {
            most = -1; at = "none"
            for (k = 1; k <= (kind == "grid" ? 19 : 64); k++) {
                t = kind == "grid" ? 5 * k / 100 : (65 - k) / 64
                tp = fp = fn = seen = 0
                for (i = 1; i <= n; i++) {
                    hit = s[i, c] >= t; seen += s[i, c] == t
                    tp += hit && y[i, c]; fp += hit && !y[i, c]; fn += !hit && y[i, c]
                }
                if (tp + fn == 0 || (kind != "grid" && !seen)) continue
                f = tp ? (1 + beta ^ 2) * tp / ((1 + beta ^ 2) * tp + beta ^ 2 * fn + fp) : 0
                if (f > most) { most = f; at = t }
            }
            printf "%s%s", at == "none" ? 0.5 : at, c < 3 ? "," : "\n"
        }
    }'
}
thresholds() { tr -d ' \n' < "$1" | sed -n 's/.*_THRESHOLDS":\[\([^]]*\)\].*/\1/p'; }
same_thresholds() { [ "$(thresholds "$1")" = "$2" ] || { echo "$(thresholds "$1"), wanted $2"; return 1; }; }
# counted FILE: TP of each class at the tuned thresholds, counted by awk on Test, is the file's NTP
counted() {
    local found
    found=$(paste -d, "$TMP/labels_Test.csv" "$TMP/r/version_a/m_val_f1_Test_sigmoid.csv" | tail -n +2 | awk -F, -v list="$(thresholds "$1")" '
    BEGIN { split(list, t, ",") } { for (c = 1; c <= 4; c++) n[c] += $(1 + c) && $(6 + c) + 0 >= t[c] }
    END { print n[1] + 0 "," n[2] + 0 "," n[3] + 0 "," n[4] + 0 }')
    tr -d ' \n' < "$1" | grep -q "\"NTP\":\[$found\]" || { echo "NTP is not $found"; return 1; }
}
given=(--scores "$TMP/r/version_a/m_val_f1_Test_sigmoid.csv" --labels "$TMP/labels_Test.csv" --split Test --max_fbeta)
val=(--val_scores "$TMP/r/version_a/m_val_f1_Val_sigmoid.csv" --val_labels "$TMP/labels_Val.csv")
for beta in 1 2 0.5; do
    for kind in grid scores; do
        out=$TMP/$beta.$kind file=$TMP/$beta.$kind/m_val_f1_Test_max_f${beta}_metrics.json
        tap_ok "F$beta over $kind" ranks 2 "$evaluate" "${given[@]}" "${val[@]}" --f_beta $beta --tune_over $kind --output "$out"
        tap_ok "F$beta over $kind: the thresholds of a plain search" same_thresholds "$file" "$(best $beta $kind)"
        tap_ok "F$beta over $kind: applied to Test" counted "$file"
    done
done
tap_ok "on one rank" "$evaluate" "${given[@]}" "${val[@]}" --output "$TMP/one"
tap_ok "the same bytes" cmp "$TMP/one/m_val_f1_Test_max_f1_metrics.json" "$TMP/1.grid/m_val_f1_Test_max_f1_metrics.json"
tap_ok "on Val itself" "$evaluate" --scores "$TMP/r/version_a/m_val_f1_Val_sigmoid.csv" --labels "$TMP/labels_Val.csv" --max_fbeta --output "$TMP/itself"
tap_ok "on Val itself: the same thresholds" same_thresholds "$TMP/itself/m_val_f1_Val_max_f1_metrics.json" "$(best 1 grid)"
tap_ok "Val is found beside Test" "$evaluate" --results_output "$TMP/r" --labels "$TMP/labels_Test.csv" --val_labels "$TMP/labels_Val.csv" \
    --split Test --max_fbeta --output "$TMP/found"
tap_ok "Val found beside Test: the same bytes" cmp "$TMP/found/version_a/m_val_f1_Test_max_f1_metrics.json" "$TMP/one/m_val_f1_Test_max_f1_metrics.json"
# two sets whose names tell nothing: their order does
mkdir "$TMP/t" "$TMP/v"
for n in a b; do cp "$TMP/r/version_a/m_val_f1_Test_sigmoid.csv" "$TMP/t/$n.csv"; done
cp "$TMP/r/version_a/m_val_f1_Val_sigmoid.csv" "$TMP/v/z.csv"
awk -F, -v OFS=, 'NR > 1 { $2 = 1 - $2; $3 = 1 - $3 } 1' "$TMP/v/z.csv" > "$TMP/v/y.csv"
two=(--labels "$TMP/labels_Test.csv" --val_labels "$TMP/labels_Val.csv" --split Test --max_fbeta --output "$TMP/two")
tap_ok "two sets, Val's in the same order" ranks 2 "$evaluate" --scores "$TMP/t/b.csv" "$TMP/t/a.csv" --val_scores "$TMP/v/z.csv" "$TMP/v/y.csv" "${two[@]}"
tap_ok "the first has the first's thresholds" same_thresholds "$TMP/two/b_max_f1_metrics.json" "$(best 1 grid)"
tap_ok "the second others" test "$(thresholds "$TMP/two/a_max_f1_metrics.json")" != "$(best 1 grid)"
tap_refused 3 'no Val scores of' "one Val set for two" "$evaluate" --scores "$TMP/t/b.csv" "$TMP/t/a.csv" --val_scores "$TMP/v/z.csv" "${two[@]}"
mkdir "$TMP/w"; cp "$TMP/v/z.csv" "$TMP/w/z.csv"
tap_ok "equal names in two folders of Val, of which nothing is written" "$evaluate" --scores "$TMP/t/b.csv" "$TMP/t/a.csv" \
    --val_scores "$TMP/v/z.csv" "$TMP/w/z.csv" "${two[@]}"
tap_ok "without --max_fbeta no file of tuned thresholds" test ! -e "$TMP/r/version_a/m_val_f1_Test_max_f1_metrics.json"
tap_refused 2 'give its scores too, as --val_scores' "no Val scores" "$evaluate" "${given[@]}" --val_labels "$TMP/labels_Val.csv"
tap_refused 2 'give its labels too, as --val_labels' "no Val labels" "$evaluate" "${given[@]}" "${val[@]:0:2}"
tap_refused 2 'leave --tune_over out' "the reference over all scores" "$evaluate" "${given[@]}" "${val[@]}" --compat reference --tune_over scores
sed 's/,w,/,v,/' "$TMP/labels_Val.csv" > "$TMP/other.csv"; sed 's/,w,/,v,/' "$TMP/r/version_a/m_val_f1_Val_sigmoid.csv" > "$TMP/other_scores.csv"
tap_refused 3 'the classes of .*other.csv are not those' "other classes on Val" "$evaluate" "${given[@]}" --val_scores "$TMP/other_scores.csv" --val_labels "$TMP/other.csv"
mkdir "$TMP/r/version_b"; cp "$TMP/r/version_a/m_val_f1_Test_sigmoid.csv" "$TMP/r/version_b"
tap_refused 3 'version_b holds no scores of the split val' "a version without Val" "$evaluate" --results_output "$TMP/r" --labels "$TMP/labels_Test.csv" \
    --val_labels "$TMP/labels_Val.csv" --split Test --max_fbeta --output "$TMP/none"
cp "$TMP/r/version_a/m_val_f1_Val_sigmoid.csv" "$TMP/r/version_b/m_val_f2_Val_sigmoid.csv"
tap_refused 3 'no Val scores of version b, m val_f1' "a checkpoint without Val" "$evaluate" --results_output "$TMP/r" --labels "$TMP/labels_Test.csv" \
    --val_labels "$TMP/labels_Val.csv" --split Test --max_fbeta --output "$TMP/none"
tap_done
