# --simd: every level that this processor has makes the same shards, the others are refused and the available ones named.
. tests/tap.sh
export OMP_NUM_THREADS=1
data=$TMP/data
tap_ok "demo data" "$BUILD/tests/demo/make_demo_data" --output "$data" --n_train 30 --n_val 3 --n_test 3 --size 70
pre() { # OUTPUT OPTIONS...
    "$BIN/anyclass-preprocess" --dataset coco --ann_root "$data/annotations" --data_root "$data/images" --image_size 32 --output "$@"
}
tap_ok "auto" pre "$TMP/auto"
n=0; n_refused=0
for level in plain avx2 avx512 neon; do
    if pre "$TMP/$level" --simd $level >"$TMP/out" 2>&1; then
        n=$((n + 1))
        tap_ok "$level makes the same bytes" diff -r "$TMP/$level" "$TMP/auto"
    else
        n_refused=$((n_refused + 1))
        tap_refused 2 "--simd: this processor has no $level; available: plain" "$level" pre "$TMP/$level" --simd $level
        tap_ok "nothing was written" test ! -e "$TMP/$level"
    fi
done
tap_ok "plain is always there, x86 and ARM are never both ($n levels ran)" test $n -ge 1 -a $n_refused -ge 1
tap_refused 2 "--simd: 'sse' is none of" "a level that is none" pre "$TMP/sse" --simd sse
tap_done
