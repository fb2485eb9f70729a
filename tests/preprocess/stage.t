# stage: the same bytes for any number of ranks; what is whole is kept, what is damaged is named or made anew, versions are never mixed; killed, stopped,
# refused and disturbed at every call; several jobs at once. CALLS=1 tries every call, the default every 29th.
. tests/tap.sh
every=${CALLS:-29}
export OMPI_MCA_ess_singleton_isolated=1 # a program that is started alone needs no daemon
data=$TMP/data
tap_ok "demo data" "$BUILD/tests/demo/make_demo_data" --output "$data" --n_train 60 --n_val 10 --n_test 4 --size 40
shards() { # FOLDER OPTION...
    local folder=$1; shift
    "$BIN/anyclass-preprocess" --dataset coco --ann_root "$data/annotations" --data_root "$data/images" --image_size 32 --output "$folder" "$@"
}
tap_ok "shards" shards "$TMP/s" --shard_size 16 --splits Train Val
tap_ok "shards of another version" shards "$TMP/s2" --shard_size 16 --splits Train Val --mean .1 .2 .3
tap_ok "larger shards" shards "$TMP/s3" --shard_size 40 --splits Train Val
stage() { "$BIN/anyclass-preprocess" stage "$@"; }
files() { (cd "$1" && ls | grep -E '\.(h5|json)$'); }
same() { # SOURCE TARGET: the same shards and manifests, each shard with its stamp, and nothing else but the marker
    [ "$(files "$1")" = "$(files "$2")" ] || return 1
    for f in $(files "$1"); do cmp "$1/$f" "$2/$f" || return 1; done
    [ "$(ls "$2" | grep -vE '\.(h5|json|h5\.stamp)$')" = staged.txt ] && [ "$(ls "$2" | grep -c 'stamp$')" = "$(ls "$2" | grep -c 'h5$')" ]
}
flip() { # FILE BYTE
    local was; was=$(od -An -tu1 -j "$2" -N 1 "$1")
    # shellcheck disable=SC2059
    printf "\\$(printf %o $((was ^ 8)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
listing() { (cd "$1" && ls -li --time-style=full-iso); }

for n in 1 2 3; do
    tap_ok "$n ranks of a machine" ranks $n "$BIN/anyclass-preprocess" stage --data_root "$TMP/s" --to "$TMP/t$n"
    tap_says '5 of 5 shards copied' "all are copied, once"
    tap_ok "the same bytes" same "$TMP/s" "$TMP/t$n"
    before=$(listing "$TMP/t$n")
    tap_ok "again" ranks $n "$BIN/anyclass-preprocess" stage --data_root "$TMP/s" --to "$TMP/t$n"
    tap_says '0 of 5 shards copied.* 5 kept' "all are kept"
    tap_ok "and not touched" test "$before" = "$(listing "$TMP/t$n")"
    tap_ok "--verify" ranks $n "$BIN/anyclass-preprocess" stage --data_root "$TMP/s" --to "$TMP/t$n" --verify
    tap_ok "touches nothing either" test "$before" = "$(listing "$TMP/t$n")"
done
tap_ok "the copies serve as shards" "$BIN/anyclass-preprocess" verify --data_root "$TMP/t1" --splits Train Val
tap_ok "one split alone" stage --data_root "$TMP/s" --to "$TMP/one" --splits Val
tap_ok "is what is there" test "$(files "$TMP/one" | tr '\n' ' ')" = "val-00000-of-00001.h5 val-manifest.json "
tap_ok "--dry_run" stage --data_root "$TMP/s" --to "$TMP/a/b/dry" --dry_run
tap_says '5 of 5 shards would be copied' "says what would be done"
tap_ok "and does nothing" test ! -e "$TMP/a"
mkdir "$TMP/with space"; cp -r "$TMP/s" "$TMP/with space/my shards"
tap_ok "paths with spaces, and a folder to be made" stage --data_root "$TMP/with space/my shards" --to "$TMP/with space/local disk/a b"
tap_ok "the same bytes" same "$TMP/s" "$TMP/with space/local disk/a b"

# the source is damaged
cp -r "$TMP/s" "$TMP/bad"
flip "$TMP/bad/train-00002-of-00004.h5" 9000
tap_refused 3 'bad/train-00002-of-00004.h5: dataset images, sample [0-9]* is damaged' "a flipped bit in the source" stage --data_root "$TMP/bad" --to "$TMP/b"
tap_ok "everything else is copied, and no manifest of that split" test "$(files "$TMP/b" | tr '\n' ' ')" = \
    "train-00000-of-00004.h5 train-00001-of-00004.h5 train-00003-of-00004.h5 val-00000-of-00001.h5 val-manifest.json "
flip "$TMP/bad/train-00000-of-00004.h5" 100
rm -rf "$TMP/b"
tap_exit 3 "two damaged ones, 2 ranks" ranks 2 "$BIN/anyclass-preprocess" stage --data_root "$TMP/bad" --to "$TMP/b"
tap_says 'train-00000-of-00004.h5: the seal is damaged' "the first is named"
tap_says 'train-00002-of-00004.h5: dataset images' "and the second"
cp "$TMP/s"/train-0000[02]* "$TMP/bad"
tap_ok "repaired" stage --data_root "$TMP/bad" --to "$TMP/b"
tap_says '2 of 5 shards copied' "what was missing is copied"
tap_ok "the same bytes" same "$TMP/s" "$TMP/b"
rm -rf "$TMP/b"
truncate -s -1 "$TMP/bad/train-00001-of-00004.h5"
tap_refused 3 'train-00001-of-00004.h5: truncated' "a source that was cut" stage --data_root "$TMP/bad" --to "$TMP/b"
rm "$TMP/bad/train-00001-of-00004.h5"
tap_refused 3 'train-00001-of-00004.h5: is missing' "a source that is missing" stage --data_root "$TMP/bad" --to "$TMP/b"
cp "$TMP/s2/train-00001-of-00004.h5" "$TMP/bad/"
tap_refused 3 'train-00001-of-00004.h5: not the shard that the manifest lists' "a source of another version" stage --data_root "$TMP/bad" --to "$TMP/b"
rm "$TMP/bad/train-00001-of-00004.h5"; mkfifo "$TMP/bad/train-00001-of-00004.h5"
tap_refused 3 'is no regular file' "a pipe" stage --data_root "$TMP/bad" --to "$TMP/b"
flip "$TMP/bad/train-manifest.json" 100
tap_refused 3 'bad/train-manifest.json' "a damaged manifest" stage --data_root "$TMP/bad" --to "$TMP/b"

# a copy is damaged
victim=$TMP/t1/train-00001-of-00004.h5
touch -r "$victim" "$TMP/time"; flip "$victim" 9000; touch -r "$TMP/time" "$victim"
tap_ok "a copy that rots behind its stamp" stage --data_root "$TMP/s" --to "$TMP/t1"
tap_says '0 of 5 shards copied' "is believed"
tap_exit 3 "but not by those who read it" "$BIN/anyclass-preprocess" verify --data_root "$TMP/t1"
tap_ok "--verify" stage --data_root "$TMP/s" --to "$TMP/t1" --verify
tap_says 'train-00001-of-00004.h5: the copy is damaged and is made anew' "finds it"
tap_says '1 of 5 shards copied' "and copies it again"
tap_ok "the same bytes" same "$TMP/s" "$TMP/t1"
flip "$victim" 9000
tap_ok "a copy that was changed" stage --data_root "$TMP/s" --to "$TMP/t1"
tap_says '1 of 5 shards copied' "is found by its time"
truncate -s -1 "$victim"; touch -r "$TMP/t1/train-00000-of-00004.h5" "$victim"
tap_ok "a copy that was cut" stage --data_root "$TMP/s" --to "$TMP/t1"
tap_says '1 of 5 shards copied' "is found by its size"
touch "$victim"; rm "$TMP/t1/train-00000-of-00004.h5.stamp"
tap_ok "no stamp, or an old one" stage --data_root "$TMP/s" --to "$TMP/t1"
tap_says '0 of 5 shards copied' "the copy is read, and kept"
tap_ok "the same bytes, all with stamps" same "$TMP/s" "$TMP/t1"
rm "$TMP/t1/train-manifest.json"; flip "$TMP/t1/val-manifest.json" 50
tap_ok "a manifest that is missing, one that is damaged" stage --data_root "$TMP/s" --to "$TMP/t1"
tap_ok "the same bytes" same "$TMP/s" "$TMP/t1"

# another version in its place
tap_ok "another version" stage --data_root "$TMP/s2" --to "$TMP/t1"
tap_ok "the same bytes" same "$TMP/s2" "$TMP/t1"
tap_ok "one with fewer shards" ranks 2 "$BIN/anyclass-preprocess" stage --data_root "$TMP/s3" --to "$TMP/t1"
tap_ok "nothing of the old one is left" same "$TMP/s3" "$TMP/t1"
tap_ok "one split of another version" stage --data_root "$TMP/s" --to "$TMP/t1" --splits Val
tap_ok "the other split stays" cmp "$TMP/s3/train-manifest.json" "$TMP/t1/train-manifest.json"
cp -r "$TMP/s2" "$TMP/bad2"; flip "$TMP/bad2/train-00000-of-00004.h5" 9000
tap_exit 3 "another version, damaged" stage --data_root "$TMP/bad2" --to "$TMP/t1"
tap_ok "no manifest says that both are one" test ! -e "$TMP/t1/train-manifest.json"

# links
mkdir "$TMP/links" "$TMP/real"; ln -s "$TMP/s"/* "$TMP/links/"; ln -s real "$TMP/link"
tap_ok "the source's files and the target folder are links" stage --data_root "$TMP/links" --to "$TMP/link"
tap_ok "the same bytes, in files" bash -c "$(declare -f same files); same $TMP/s $TMP/real && ! find $TMP/real -type l | grep -q ."
echo precious >"$TMP/precious"
rm "$TMP/real/val-00000-of-00001.h5" "$TMP/real/train-00000-of-00004.h5"
ln -s "$TMP/s/val-00000-of-00001.h5" "$TMP/real/val-00000-of-00001.h5"
ln -s "$TMP/precious" "$TMP/real/train-00000-of-00004.h5.part"
tap_ok "links in the place of copies" stage --data_root "$TMP/s" --to "$TMP/real"
tap_ok "are replaced by copies" bash -c "$(declare -f same files); same $TMP/s $TMP/real && ! find $TMP/real -type l | grep -q ."
tap_ok "and nothing is written through them" test "$(cat "$TMP/precious")" = precious

# refused
tap_refused 4 'train-manifest.json\|no manifest' "no manifest" stage --data_root "$data" --to "$TMP/none"
tap_refused 4 '--splits Test: there is no manifest' "a split without one" stage --data_root "$TMP/s" --to "$TMP/none" --splits Test
tap_refused 2 '--to is the folder of --data_root' "onto itself" stage --data_root "$TMP/s" --to "$TMP/s/../s/"
cp -r "$TMP/s2" "$TMP/mine"; before=$(listing "$TMP/mine")
tap_refused 2 'did not put there' "into a folder of shards that are no copies" stage --data_root "$TMP/s" --to "$TMP/mine"
tap_refused 2 'did not put there' "--remove of shards that are no copies" stage --to "$TMP/mine" --remove
tap_ok "which are not touched" test "$before" = "$(listing "$TMP/mine")"
tap_refused 2 '--data_root is required' "no source" stage --to "$TMP/none"
tap_refused 2 'exclude each other' "--remove --verify" stage --to "$TMP/none" --remove --verify
tap_refused 4 'precious' "a file in the folder's place" stage --data_root "$TMP/s" --to "$TMP/precious"
tap_ok "nothing was made" test ! -e "$TMP/none"

# --remove
tap_ok "--remove of one split" stage --to "$TMP/t2" --remove --splits Val
tap_ok "leaves the other" test "$(files "$TMP/t2" | tr '\n' ' ')" = "$(files "$TMP/s" | grep train | tr '\n' ' ')"
tap_ok "--remove, 2 ranks" ranks 2 "$BIN/anyclass-preprocess" stage --to "$TMP/t2" --remove
tap_ok "the folder is gone" test ! -e "$TMP/t2"
tap_ok "and again" stage --to "$TMP/t2" --remove
touch "$TMP/t3/notes"
tap_ok "--remove with a file of somebody else" stage --to "$TMP/t3" --remove
tap_ok "which stays" test "$(ls "$TMP/t3")" = notes

# jobs at the same time share one copy
rm -rf "$TMP/shared"; pids=()
for k in 1 2 3 4; do stage --data_root "$TMP/s" --to "$TMP/shared" >"$TMP/shared$k.log" 2>&1 & pids+=($!); done
failed=0; for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
tap_ok "four at once all succeed" test $failed = 0
tap_ok "each shard is copied by one of them" test "$(sed -n 's/.*: \([0-9]*\) of 5 shards copied.*/\1/p' "$TMP"/shared?.log | awk '{n += $1} END {print n + 0}')" = 5
tap_ok "the same bytes" same "$TMP/s" "$TMP/shared"
touch "$TMP/shared/stage.lock"
tap_ok "a lock that its holder left when it died" stage --data_root "$TMP/s" --to "$TMP/shared"
tap_ok "blocks nobody, and goes" same "$TMP/s" "$TMP/shared"
if command -v flock >/dev/null; then
    hold() { flock "$TMP/shared/stage.lock" bash -c "touch $TMP/held; while [ -e $TMP/held ]; do sleep 0.05; done" & holder=$!; until [ -e "$TMP/held" ]; do sleep 0.01; done; }
    waits() { grep -q 'another job works' "$TMP/wait.log"; }
    hold; : >"$TMP/wait.log"
    stage --data_root "$TMP/s" --to "$TMP/shared" >"$TMP/wait.log" 2>&1 & waiter=$!
    until_true 60 waits
    tap_ok "a lock that is held is waited for, and said" grep -q 'stage.lock: another job works on this folder, waiting' "$TMP/wait.log"
    rm "$TMP/held"; status=0; wait $waiter || status=$?; wait $holder
    tap_ok "and taken when it is free" test $status = 0
    for n in 1 3; do # to one rank, the last, which does not wait for the lock itself
        hold; : >"$TMP/wait.log" # what the run before said is not this one's
        ranks $n "$BIN/anyclass-preprocess" stage --data_root "$TMP/s" --to "$TMP/shared" >"$TMP/wait.log" 2>&1 & waiter=$!
        until_true 60 waits
        kill -USR1 "$(pgrep -P "$(pgrep -P $waiter -x mpirun || echo $waiter)" -f anyclass-preprocess | tail -1)"
        status=0; wait $waiter || status=$?
        rm "$TMP/held"; wait $holder
        tap_ok "a signal to one of $n ranks that wait for the lock: exit code 75" test $status = 75
        tap_ok "one line says so" test "$(grep -c 'error: stopped by signal 10' "$TMP/wait.log")" = 1
    done
else
    tap_skip "a lock that is held" "flock is not installed"
fi

# each call that changes a file in the target: killed there, failing there, a signal there
failing() { # HOW AT RANKS
    rm -rf "$TMP/f"; cp -r "$TMP/old" "$TMP/f" # another version is there: its files go
    HOW=$1 AT=$2 FOLDER=$TMP/f RANK=$(($3 - 1)) ranks "$3" "$BUILD/tests/preprocess/failing_stage" stage --data_root "$TMP/s" --to "$TMP/f" >"$TMP/said" 2>&1
}
stage --data_root "$TMP/s3" --to "$TMP/old" 2>/dev/null
no_mix() { # a manifest is there: all of its shards are, and they are its own
    local m version
    for m in "$TMP/f"/*-manifest.json; do
        [ -e "$m" ] || continue
        version=$TMP/s; cmp -s "$m" "$version/${m##*/}" || version=$TMP/s3
        cmp -s "$m" "$version/${m##*/}" || return 1
        for f in $(files "$version" | grep "^$(basename "${m%-manifest.json}")-"); do cmp -s "$version/$f" "$TMP/f/$f" || return 1; done
    done
}
for how in kill error short signal; do
    for n in 1 2; do
        [ $how-$n != kill-2 ] || continue # a launcher may wait for ever for ranks of which one died
        failing count 0 $n; calls=$(sed -n 's/^\([0-9]*\) calls.*/\1/p' "$TMP/said")
        problem='' n_tried=0 n_ended=0
        step=$(((every + n - 1) / (2 * n - 1))) # fewer calls are the second rank's
        [ $step -le $((${calls:-0} / 3)) ] || step=$((${calls:-3} / 3)) # three at least
        for ((at = 1 + step / 2; at <= ${calls:-0}; at += step)); do
            status=0; failing $how $at $n || status=$?
            n_tried=$((n_tried + 1))
            [ $status = 0 ] || n_ended=$((n_ended + 1))
            case $how-$status in
                kill-137 | *-0) ;;
                error-4 | short-4 | signal-75) [ "$(grep -c 'error: ' "$TMP/said")" = 1 ] || problem+=" $at: no line, or more than one: $(cat "$TMP/said")" ;;
                *) problem+=" $at: exit code $status: $(tail -1 "$TMP/said")" ;;
            esac
            no_mix || problem+=" $at: a manifest without its shards"
            [ $how = kill ] || ! ls "$TMP/f" | grep -q '\.part$' || problem+=" $at: a half file is left"
            for f in $(files "$TMP/s"); do ! cmp -s "$TMP/s/$f" "$TMP/f/$f" || stat -c '%i %n' "$TMP/f/$f"; done | grep h5 >"$TMP/complete"
            stage --data_root "$TMP/s" --to "$TMP/f" >"$TMP/again" 2>&1 || problem+=" $at: the next run: $(tail -1 "$TMP/again")"
            rm -f "$TMP/f/stage.lock"
            same "$TMP/s" "$TMP/f" >/dev/null || problem+=" $at: other bytes or files: $(ls "$TMP/f" | tr '\n' ' ')"
            while read -r inode file; do # complete copies are kept
                [ "$(stat -c %i "$file")" = "$inode" ] || problem+=" $at: $file was copied twice"
            done <"$TMP/complete"
        done
        [ -z "$problem" ] || echo "#$problem"
        tap_ok "$how, $n ranks: $n_tried of ${calls:-0} calls, $n_ended of them ended the run" test -z "$problem" -a $n_ended -gt 1
    done
done

# a small file system, and one that is read-only: in a mount namespace of their own
if unshare -m true 2>/dev/null; then
    small() { # OPTIONS OF MOUNT, RANKS, OPTION...
        local options=$1 n=$2; shift 2
        mkdir -p "$TMP/small"
        unshare -m bash -c "mount -t tmpfs -o $options none '$TMP/small' && ranks $n '$BIN/anyclass-preprocess' stage --data_root '$TMP/s' --to '$TMP/small/t' $*; code=\$?; ls '$TMP/small'; exit \$code"
    }
    export -f ranks; export BIN
    for n in 1 2; do
        tap_refused 4 'no room: .* MB are missing' "a disk without room, $n ranks" small size=160k $n
        tap_ok "nothing was copied" test "$(tail -1 "$TMP/.tap_out")" = t
    done
    tap_refused 4 'no room' "--dry_run says so too" small size=160k 1 --dry_run
    tap_ok "there is room for one split" small size=160k 1 --splits Val
    tap_refused 4 'Read-only file system' "a read-only file system" small ro 2
else
    tap_skip "a full and a read-only file system" "mount namespaces are not allowed here"
fi
tap_done
