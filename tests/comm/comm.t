# comm_ranks on 1 to 4 ranks; each run's own checks are counted here as one test each.
. tests/tap.sh
for n in 1 2 3 4; do tap_ok "agreement and gathering on $n ranks" ranks "$n" "$BUILD/tests/comm/comm_ranks"; done
tap_exit 2 "an MPI size that is not SLURM_NTASKS is refused" env SLURM_JOB_ID=1 SLURM_NTASKS=3 SLURM_STEP_ID=0 \
    mpirun -n 2 "$BIN/anyclass-train" --data_root "$TMP/none"
tap_says SLURM_NTASKS "and the line says so"
tap_exit 4 "other ranks' numbers are those of their machine's job step, and do not count" timeout 60 mpirun \
    -n 1 env SLURM_JOB_ID=1 SLURM_NTASKS=2 "$BIN/anyclass-train" --data_root "$TMP/none" : \
    -n 1 env SLURM_JOB_ID=1 SLURM_NTASKS=1 SLURM_STEP_ID=0 "$BIN/anyclass-train" --data_root "$TMP/none"
tap_says "$TMP/none" "and the line is about the data"
tap_done
