#!/usr/bin/env bash
# anyclass-simulate on the command line: CSV and SVG, what is refused, edges.
. tests/tap.sh
simulate=$BIN/anyclass-simulate
quiet() { "$simulate" --log_level warn "$@"; }
csv() { local out=$1; shift; quiet "$@" >"$out"; }
rows() { test "$(wc -l <"$1")" -eq "$2"; }
columns() { test "$(head -1 "$1" | tr ',' '\n' | wc -l)" -eq "$2"; }
finite() { ! grep -qi 'nan\|inf' "$1"; }
near() { awk -F, -v want="$3" -v row="$2" 'NR == row {d = $NF - want; good = d < 1e-12 && d > -1e-12} END {exit !good}' "$1"; } # FILE ROW VALUE of the last column

tap_ok "--help" "$simulate" --help
tap_says 'bce_any_loss (which is trained)' "names the surfaces"
tap_ok "and exit codes once" test "$("$simulate" --help | grep -c 'Exit codes')" -eq 1
tap_ok "--version" "$simulate" --version
tap_ok "--dump_config" "$simulate" --dump_config --lambda 0.25 --surface any_loss bce_loss
tap_says '"lambda": 0.25' "with what was given"
tap_says '"y1": 1' "and what was not"
"$simulate" --dump_config --lambda 0.25 --grid 5 --other_p 0.2 >"$TMP/config.json"
tap_ok "the CSV by options" csv "$TMP/a.csv" --lambda 0.25 --grid 5 --other_p 0.2
tap_ok "and by --config" csv "$TMP/b.csv" --config "$TMP/config.json"
tap_ok "the same bytes" cmp "$TMP/a.csv" "$TMP/b.csv"
tap_ok "a header and 25 rows" rows "$TMP/a.csv" 26
tap_ok "on three ranks" ranks 3 "$simulate" --lambda 0.25 --grid 5 --other_p 0.2 --output "$TMP/three.csv" --log_level warn
tap_ok "the same bytes from one of them" cmp "$TMP/a.csv" "$TMP/three.csv"
tap_ok "all surfaces" csv "$TMP/all.csv" --surface all --grid 3
tap_ok "are twelve" columns "$TMP/all.csv" 14
tap_ok "given twice and out of order, each is there once" csv "$TMP/two.csv" --surface bce_loss product bce_loss --grid 2
tap_ok "in one order" grep -qx 'p1,p2,product,bce_loss' "$TMP/two.csv"

# the middle of a grid of 3 is p1 = p2 = 0.5: BCE 2 log 2, zbar 0
tap_ok "labels 1 and 0, lambda 0" csv "$TMP/c.csv" --grid 3 --lambda 0 --surface bce_any_loss
tap_ok "3 log 2 in the middle" near "$TMP/c.csv" 6 2.0794415416798357
tap_ok "at (0.99, 0.01) it is -3 log 0.99" near "$TMP/c.csv" 4 0.030151007560504
tap_ok "alpha 0" csv "$TMP/c.csv" --grid 3 --alpha 0
tap_ok "leaves 2 log 2" near "$TMP/c.csv" 6 1.3862943611198906
tap_ok "gamma 2, alpha 0" csv "$TMP/c.csv" --grid 3 --alpha 0 --gamma 2
tap_ok "leaves a quarter" near "$TMP/c.csv" 6 0.34657359027997264
tap_ok "no labels" csv "$TMP/c.csv" --grid 3 --y1 0 --y2 0 --lambda 0 --surface any_likelihood
tap_ok "at (0.01, 0.01): 0.99" near "$TMP/c.csv" 2 0.99
tap_ok "counts 1 and 1, no negatives" csv "$TMP/c.csv" --grid 3 --counts 1 1 --surface bce_loss
tap_ok "weigh 1.5" near "$TMP/c.csv" 6 2.0794415416798357
for edge in '--grid 2 --lambda 0 --alpha 0 --gamma 0 --y1 0 --y2 0' '--lambda 1e6 --alpha 1e6 --gamma 100 --grid 7' '--counts 0 0 --negatives 5 --grid 4' \
    "--grid 5 --other_p $(seq -s ' ' 0.1 0.00625 0.881)" '--counts 1e15 1 --class_balancing_beta 1 --grid 3' '--counts 3 4 --class_balancing_beta 0 --grid 3'; do
    # shellcheck disable=SC2086
    tap_ok "$(echo "$edge" | cut -c 1-60)" csv "$TMP/edge.csv" --surface all $edge
    tap_ok "has numbers alone" finite "$TMP/edge.csv"
    # shellcheck disable=SC2086
    tap_ok "and a picture" quiet --surface all --arrows $edge --output "$TMP/edge.svg"
    tap_ok "of numbers alone" finite "$TMP/edge.svg"
done

tap_ok "an SVG" quiet --surface bce_loss bce_any_loss --arrows --colormap plasma --output "$TMP/pair.svg"
tap_ok "below 120 kB" test "$(wc -c <"$TMP/pair.svg")" -lt 120000
tap_ok "with the state in words" grep -q '<desc>y = (1, 0), λ = 0.1, α = 1</desc>' "$TMP/pair.svg"
tap_ok "and two titles" test "$(grep -c 'class="title"' "$TMP/pair.svg")" -eq 2
tap_ok "its XML is whole" perl -0777 -ne 's/<\?xml[^>]*>//; my @open; while (/<(\/?)([a-z]+)[^<>]*?(\/?)>/g) {if ($1) {die "$2" if pop(@open) ne $2} elsif (!$3) {push @open, $2}} die "@open" if @open' "$TMP/pair.svg"
tap_ok "again, the same bytes" quiet --surface bce_loss bce_any_loss --arrows --colormap plasma --output "$TMP/pair2.svg"
tap_ok "equal" cmp "$TMP/pair.svg" "$TMP/pair2.svg"
tap_ok "without lines" quiet --levels 0 --output "$TMP/plain.svg"
tap_ok "with focal loss" quiet --gamma 2 --output "$TMP/focal.svg"
tap_ok "the title says so" grep -q '>Focal + any-class loss<' "$TMP/focal.svg"
tap_ok "nine classes in a narrow picture" quiet --other_p 0.1 0.2 0.3 0.4 0.5 0.6 0.7 --counts 5 6 7 8 9 1 2 3 4 --gamma 2.25 --alpha 0.123 --output "$TMP/nine.svg"
tap_ok "name the others' probabilities" grep -q '<desc>y = (1, 0, 0, 0, 0, 0, 0, 0, …), p = (p₁, p₂, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, …), λ = 0.1, α = 0.123, γ = 2.25, W = ' "$TMP/nine.svg"
tap_ok "in lines that fit" perl -CSD -ne 'while (/<text x="16" y="\d+">([^<]*)</g) {$n++; die "$1" if length($1) * 5.5 > 310} END {die "$n lines" if $n < 3}' "$TMP/nine.svg"
tap_ok "its picture begins below them" perl -ne '/<svg [^>]*height="(\d+)"/ && $1 > 418 and $good = 1; END {exit !$good}' "$TMP/nine.svg"
tap_ok "a surface of one value" quiet --counts 0 5 --output "$TMP/flat.svg"
tap_ok "has it in the legend" grep -q 'text-anchor:middle">0</text>' "$TMP/flat.svg"
tap_ok "into a new folder" quiet --output "$TMP/new/deep/a.csv" --grid 2
tap_ok "--dry_run" "$simulate" --dry_run --output "$TMP/dry.svg"
tap_says 'nothing was written' "says so"
tap_ok "and holds it" test ! -e "$TMP/dry.svg"
tap_ok "nothing is left that is not whole" test -z "$(find "$TMP" -name '*.part')"
tap_ok "--levels for a CSV" "$simulate" --levels 3 --grid 2 --output "$TMP/c.csv"
tap_says "warning: --levels is the SVG's alone" "is warned about"
tap_ok "--class_balancing_beta without counts" "$simulate" --class_balancing_beta 0.5 --grid 2 --output "$TMP/c.csv"
tap_says "warning: --class_balancing_beta goes with --counts" "too"

tap_refused 2 'no such surface' "an unknown surface" "$simulate" --surface loss
tap_refused 2 'must end in .html' "an output of no known kind" "$simulate" --output "$TMP/a.png"
tap_refused 2 'y1: 2 is not in' "label 2" "$simulate" --y1 2
tap_refused 2 'lambda: .* no number' "lambda nan" "$simulate" --lambda nan
tap_refused 2 'alpha: .* no number' "alpha inf" "$simulate" --alpha inf
tap_refused 2 'gamma: -1 is not in' "gamma -1" "$simulate" --gamma -1
tap_refused 2 'lambda: -0.1 is not in' "lambda -0.1" "$simulate" --lambda -0.1
tap_refused 2 'grid: 1 is not in' "a grid of one" "$simulate" --grid 1
tap_refused 2 'other_p: 0 is not in' "a probability of 0" "$simulate" --other_p 0
tap_refused 2 'other_p: .* no number' "a probability nan" "$simulate" --other_p nan
tap_refused 2 '1 labels for 2' "fewer labels than probabilities" "$simulate" --other_p 0.1 0.2 --other_y 1
tap_refused 2 '2 labels for 0' "labels without probabilities" "$simulate" --other_y 1 0
tap_refused 2 '0.5 is no label' "half a label" "$simulate" --other_p 0.1 --other_y 0.5
# shellcheck disable=SC2046
tap_refused 2 '126 are the most' "too many classes" "$simulate" --other_p $(yes 0.1 | head -127)
tap_refused 2 '3 numbers for 2' "more counts than classes" "$simulate" --counts 1 2 3
tap_refused 2 '1.5 is no number of images' "half an image" "$simulate" --counts 1.5 2
tap_refused 2 'no image at all' "no image at all" "$simulate" --counts 0 0
tap_refused 2 'negatives: they go with --counts' "--negatives alone" "$simulate" --negatives 3
tap_refused 2 'colormap' "an unknown colour map" "$simulate" --colormap jet
touch "$TMP/file"; mkdir "$TMP/folder.csv"
tap_refused 4 'file' "an output in a folder that is a file" "$simulate" --output "$TMP/file/a.csv"
tap_refused 4 'is a folder' "an output that is a folder" "$simulate" --output "$TMP/folder.csv"
full() { "$simulate" --grid 50 >/dev/full; }
tap_refused 4 'stdout' "a full disk behind stdout" full
if "$simulate" --output "$TMP/page.html" --dry_run >/dev/null 2>&1; then
    tap_refused 2 'grid 50: the page' "another grid for the page" "$simulate" --output "$TMP/page.html" --grid 50
    tap_refused 2 'name the one' "two surfaces for the page" "$simulate" --output "$TMP/page.html" --surface product bce_loss
    tap_ok "a page of a state" quiet --output "$TMP/page.html" --surface any_loss --lambda 0.75 --y2 1
    tap_ok "holds it" grep -q '"surface": *"any_loss".*"lambda": *0.75' <(tr -d '\n' <"$TMP/page.html")
fi
tap_done
