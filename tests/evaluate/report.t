#!/usr/bin/env bash
# --report and --plots: what is written, under which names, the same bytes for any number of ranks; bad input; damaged shards; and the
# page in a browser, where there is one. SCREENSHOTS=DIR takes pictures of it.
. tests/tap.sh
. tests/evaluate/data.sh
. tests/evaluate/report_data.sh
odd='a<b>"&'"'"
report_data "$TMP/data" 6 400 "$odd" 'any|bce λ=.5'
write_report() { # RANKS OUT OPTION...
    local n=$1 out=$2; shift 2
    ranks "$n" "$evaluate" --results_output "$TMP/data/results" --labels "$TMP/data/labels.csv" --log_dir "${LOGS:-$TMP/data/logs}" \
        --output "$out" --report "${PAGE:-$out/page.html}" --plots "$out/plots" --log_level warn "$@"
}
env_report() { local OUT=$TMP/bad LOGS PAGE "$@"; write_report 1 "$OUT"; }
absent() { ! grep -q -- "$1" "$2"; }
page=$TMP/one/page.html

tap_ok "a report on one rank" write_report 1 "$TMP/one"
tap_ok "and on three" write_report 3 "$TMP/three"
tap_ok "the same bytes" diff -r "$TMP/one" "$TMP/three"
tap_ok "again, the same bytes over the old ones" write_report 2 "$TMP/three"
tap_ok "no file is left that is not whole" test -z "$(find "$TMP/one" "$TMP/three" -name '*.part')"
tap_ok "equal again" diff -r "$TMP/one" "$TMP/three"
tap_ok "a page below 1 MB" test "$(wc -c <"$page")" -lt 1000000
tap_ok "nothing is loaded from elsewhere" absent 'src=\|url(\|@import\|<link rel="stylesheet\|https\?://[^w]' "$page"
tap_ok "class names are escaped" absent 'crack<b>' "$page"
tap_ok "and there" grep -q 'crack&lt;b&gt;' "$page"
tap_ok "names of versions and of images too" absent 'a<b>\|<i>odd</i>' "$page"
tap_ok "the absent class is named" grep -q 'no image shows <b>none</b>' "$page"
tap_ok "curves of the training" grep -q 'best val_ap: 0.6898 after epoch 12' "$page"

names() { (cd "$TMP/one/plots" && find . -name '*.svg' | sed 's|^\./||' | sort); }
{
    echo labels.svg
    for name in metrics class_f1 class_f2 precision_recall scores calibration training_loss training_validation; do
        echo "version_$odd/resnet18_val_f1_val_$name.svg"
    done
    for class in 01_crack_b_ 02_root____co_ 03_joint_s 04_none 05_Pleural_Thickening_and_more_besides 06_class6 07_any; do
        for name in class_precision_recall class_threshold class_scores class_calibration; do
            case $class:$name in 04*:class_[pt]*) ;; *) echo "version_$odd/resnet18_val_f1_val_${class}_$name.svg" ;; esac
        done
    done
} | sort >"$TMP/wanted"
tap_ok "the plots of a version have the documented names" diff "$TMP/wanted" <(names | grep -v '^version_any')
tap_ok "the other version has as many" test "$(names | grep -c '^version_any')" -eq "$(grep -c '^version_' "$TMP/wanted")"
tap_ok "each is a picture of its own" test "$(cd "$TMP/one/plots" && find . -name '*.svg' -exec grep -L 'xmlns="http://www.w3.org/2000/svg".*role="img"' {} + | wc -l)" -eq 0
tap_ok "--checkpoint chooses what is shown in detail" write_report 1 "$TMP/other" --checkpoint val_ap
tap_ok "in the plots too" test -e "$TMP/other/plots/version_any|bce λ=.5/resnet18_val_ap_val_metrics.svg"
tap_ok "one set of scores, given as a file" "$evaluate" --scores "$TMP/val_sigmoid.csv" --labels "$TMP/labels.csv" --report "$TMP/single/page.html" --plots "$TMP/single"
tap_ok "has its plots under the name of its folder" test -e "$TMP/single/version_${TMP##*/}/val_metrics.svg"
tap_ok "and no choice of versions" absent 'name="version"' "$TMP/single/page.html"

tap_refused 4 'no metrics.csv of any version.*--log_save_dir' "a --log_dir without logs" env_report LOGS="$TMP"
cp -r "$TMP/data/logs" "$TMP/logs"
rm "$TMP/logs/version_$odd/metrics.csv"
tap_ok "one version without a log" env_report LOGS="$TMP/logs" OUT="$TMP/part"
tap_says 'metrics.csv is not there: the report has no training curves' "is warned about"
sed -i '3s/,[0-9.]*$/,x.5/' "$TMP/logs/version_any|bce λ=.5/metrics.csv"
tap_refused 3 "metrics.csv line 3: .*x\." "a metrics.csv with a bad number" env_report LOGS="$TMP/logs"
echo 'a,b' >"$TMP/logs/version_any|bce λ=.5/metrics.csv"
tap_refused 3 "metrics.csv: no column epoch" "a file that is no metrics.csv" env_report LOGS="$TMP/logs"
tap_ok "nothing was written then" test ! -e "$TMP/bad/page.html"
touch "$TMP/file"
tap_refused 4 "file" "a report in a folder that is a file" env_report PAGE="$TMP/file/page.html"

mkdir "$TMP/shards"
tap_ok "shards" "$BUILD/tests/evaluate/write_shards" "$TMP/labels.csv" "$TMP/shards" 2
with_pixels() { "$evaluate" --scores "$TMP/val_sigmoid.csv" --data_root "$TMP/shards" --report "$1" --log_level warn; }
tap_ok "a report with pixels" with_pixels "$TMP/pixels.html"
uses() { grep -o 'href="#i[0-9]*"' "$1" | sort -u | sed 's/href="#//'; }
made() { grep -o '<\(image\|g\) id="i[0-9]*"' "$1" | sort | sed 's/.* id="//'; }
tap_ok "each image that is shown is there once" diff <(uses "$TMP/pixels.html") <(made "$TMP/pixels.html")
tap_ok "and there are some" test "$(uses "$TMP/pixels.html" | wc -l)" -gt 10
tap_ok "rot" perl -e 'open F, "+<:raw", shift; read F, $all, -s F; $at = index $all, "\0" x 5700; die if $at < 0; seek F, $at + 900, 0; print F "\1" x 4000;' \
    "$TMP/shards/val-00000-of-00002.h5"
tap_ok "a shard with rotten pixels" with_pixels "$TMP/rotten.html"
tap_says 'warning: .*val-00000-of-00002.h5.*placeholder' "is warned about, by name"
tap_ok "and gives placeholders" grep -q 'damaged</text>' "$TMP/rotten.html"

browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$browser" ]; then
    tap_skip "the page in a browser" "no chromium (make browser installs it)"
else
    # shellcheck disable=SC2046
    timeout 300 "$BUILD/tests/evaluate/browser" "$browser" "$page" $(figure_ids 2 6 3) -- "$TMP"/one/plots/*.svg "$TMP"/one/plots/version_any*/*.svg >"$TMP/seen" 2>&1
    tap_ok "the browser's checks came to an end" grep -q '^1\.\.' "$TMP/seen"
    while IFS= read -r line; do
        case $line in
            "ok "*) tap_ok "${line#*- }" true ;;
            "not ok "*) tap_ok "${line#*- }" false ;;
            "# "*) printf '%s\n' "$line" ;;
        esac
    done <"$TMP/seen"
fi
tap_done
