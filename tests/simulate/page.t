#!/usr/bin/env bash
# The page of anyclass-simulate: its size, what it asks for, and in a browser, where there is one, its surfaces against the program's
# CSV for all label pairs and three lambdas. SCREENSHOTS=DIR takes pictures of it.
. tests/tap.sh
simulate=$BIN/anyclass-simulate
absent() { ! grep -q -- "$1" "$2"; }
page=$TMP/page.html

"$simulate" --output "$page" --log_level warn >"$TMP/.made" 2>&1
if grep -q 'this build has no page' "$TMP/.made"; then
    tap_refused 2 'clang or wasm-ld.*clang and lld' "a page in a build without clang" "$simulate" --output "$page"
    tap_skip "the page" "built without clang and wasm-ld"
    tap_done
fi
tap_ok "a page" test -s "$page"
tap_ok "below 400 KB" test "$(wc -c <"$page")" -lt 400000
tap_ok "nothing is loaded from elsewhere" absent 'src=\|url(\|@import\|<link rel="stylesheet\|fetch(' "$page"
tap_ok "on two ranks" ranks 2 "$simulate" --output "$TMP/two.html" --log_level warn
tap_ok "the same bytes" cmp "$page" "$TMP/two.html"

browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$browser" ]; then
    tap_skip "the page in a browser" "no chromium (make browser installs it)"
    tap_done
fi
# states by name of option, and the same for the page; all label pairs, three lambdas, then what else can be moved
cases=()
csv() { # STATE OPTION...
    local state=$1 file=$TMP/${#cases[@]}.csv; shift
    "$simulate" --surface all --output "$file" --log_level warn "$@" || echo "no CSV for $state"
    cases+=("$state" "$file")
}
for y in 00 01 10 11; do
    for lambda in 0 0.35 1; do
        csv "{y:[${y:0:1},${y:1:1}],p:[.5,.5],lambda:$lambda,alpha:1,gamma:0,weighted:false}" --y1 "${y:0:1}" --y2 "${y:1:1}" --lambda "$lambda"
    done
done
csv '{y:[1,0],p:[.5,.5],lambda:.1,alpha:.7,gamma:2}' --alpha 0.7 --gamma 2
csv '{y:[0,1,1,0],p:[.5,.5,.2,.85],lambda:.6,alpha:2,gamma:.5}' --y1 0 --y2 1 --other_p 0.2 0.85 --other_y 1 0 --lambda 0.6 --alpha 2 --gamma 0.5
csv '{y:[1,1,0],p:[.5,.5,.4],lambda:.3,alpha:1,gamma:0,weighted:true,counts:[120,30,9],negatives:4000,beta:.999}' --y2 1 --other_p 0.4 --lambda 0.3 \
    --counts 120 30 9 --negatives 4000 --class_balancing_beta 0.999
timeout 300 "$BUILD/tests/simulate/page" "$browser" "$page" "${cases[@]}" >"$TMP/seen" 2>&1
tap_ok "the browser's checks came to an end" grep -q '^1\.\.' "$TMP/seen"
while IFS= read -r line; do
    case $line in
        "ok "*) tap_ok "${line#*- }" true ;;
        "not ok "*) tap_ok "${line#*- }" false ;;
        "# "*) printf '%s\n' "$line" ;;
    esac
done <"$TMP/seen"
tap_done
