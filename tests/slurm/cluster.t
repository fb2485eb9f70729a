# The cluster of the other tests leaves nothing behind: no process, mount, network device or line in a file of the machine, however it ended. Two stand side by
# side. Where it cannot be, it says why.
. tests/slurm/common.sh
machine() { ip -o link | cut -d: -f2 | sort; cut -d' ' -f2 /proc/mounts | sort; cat /etc/hosts; ls -A /run; hostname; }
below() { # FOLDER: processes of its cluster: the first, which names it, and all in networks of their own that know of it
    local process mine; mine=$(readlink /proc/self/ns/net)
    for process in /proc/[0-9]*; do
        {
            tr '\0' ' ' <"$process/cmdline"
            [ "$(readlink "$process/ns/net")" = "$mine" ] || tr '\0' '\n' <"$process/environ" | grep '^SLURM_CONF='
        } 2>/dev/null | grep -q -F -e "$1 " -e "SLURM_CONF=$1/etc" && echo "${process#/proc/}"
    done
    true
}
none_below() { [ -z "$(below "$1")" ]; }
tools() { "$root/tests/slurm/cluster.sh" "$@"; }
before=$(machine)
begin
tap_ok "a second one beside it" env -u SLURM_CONF CLUSTER_OWNER=0 tests/slurm/cluster.sh start "$TMP/second"
for folder in "$cluster" "$TMP/second"; do
    tap_ok "${folder##*/}: a job runs on both nodes" bash -c '. "$1/env"; sbatch --wait --nodes 2 --output "$1/out" --wrap "srun hostname" && diff <(sort "$1/out") <(printf "node1\nnode2\n")' - "$folder"
done
tap_ok "the machine's own network, mounts and files are as before" diff <(machine) <(echo "$before")
tap_ok "and its processes are found" bash -c '[ "$1" -gt 8 ]' - "$(below "$cluster" | wc -l)"
tools down "$cluster" node1
tap_exit 1 "a node that is down is no host" tools on "$cluster" node1 true
tools stop "$cluster"
tap_ok "stopped: no process is left" none_below "$cluster"
tap_ok "the other one stands" bash -c '. "$1/env"; [ "$(sinfo -h -o %D -p low -t idle)" = 2 ]' - "$TMP/second"
read -r guard _ <"$TMP/second/run/guard"
kill -KILL "$guard"
tap_ok "its first process killed with -9: no process is left" until_true 10 none_below "$TMP/second"
tap_ok "and stop has nothing to complain of" tools stop "$TMP/second"
sleep 300 & owner=$!; disown
tap_ok "a third one, whose owner is killed" env -u SLURM_CONF CLUSTER_OWNER="$owner" tests/slurm/cluster.sh start "$TMP/third"
kill -KILL "$owner"
tap_ok "ends with its owner" until_true 10 none_below "$TMP/third"
tap_ok "everything is as before" diff <(machine) <(echo "$before")
chmod 755 "$TMP"
tap_exit 77 "without root: 77" setpriv --reuid 65534 --clear-groups bash tests/slurm/cluster.sh start "$TMP/fourth"
tap_says 'needs root' "and a line that says so"
mkdir -p "$TMP/other/run" "$TMP/other/state"; touch "$TMP/other/run/file"
tap_ok "stop of another folder" tools stop "$TMP/other"
tap_ok "takes nothing from it" test -e "$TMP/other/run/file" -a -d "$TMP/other/state"
tap_exit 1 "a folder that is not empty" tools start "$TMP/second"
tap_done
