# source this: settings under which the tests and the demo start MPI ranks on any machine, root or not, few cores or many
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
export OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_plm_rsh_agent="${OMPI_MCA_plm_rsh_agent:-$(command -v ssh || echo false)}"
export ASAN_OPTIONS="fast_unwind_on_malloc=0:${ASAN_OPTIONS:-}"
export LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp:print_suppressions=0:${LSAN_OPTIONS:-}"
export TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp:atexit_sleep_ms=0:${TSAN_OPTIONS:-}"
