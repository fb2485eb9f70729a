#!/usr/bin/env bash
# Programs and inputs of check-gpu and bench-gpu in one folder, for a machine with a GPU but without the packages that anyclass is built with: all
# of them linked in, without the CPU backend (and its library).
# usage: tests/gpu/pack.sh FOLDER [MAKE_ARGUMENT...]      (from the project's folder; CUDA_ARCHS=90 for one kind of GPU)
set -euo pipefail
folder=$1
shift
build=build/gpu
tests="tests/nn/test_operators tests/model/test_steps tests/model/test_golden $(ls tests/nn/test_operators_*.c | sed "s/\.c$//")"
benches="bench/step bench/ops"
sources=$(ls lib/*/*.c lib/*/*/*.c | grep -vE '^lib/(backend/cpu|metrics|chart|comm|image|data)/') # what these programs need
targets=$build/libanyclass.a
for t in $tests $benches; do targets+=" $build/$t.o"; done
# shellcheck disable=SC2086
mkdir -p build
make -j"${JOBS:-2}" CUDA=1 BUILD=$build LIB_SRC="$(echo $sources)" PROG_SRC= ASSETS= "$@" $targets >"$build.log" 2>&1 || { tail -20 "$build.log"; exit 1; }
grep -E "warning" "$build.log" || true
mkdir -p "$folder"
flags="-std=c11 -Iinclude -Ilib -DAC_WITH_CUDA -DAC_WITHOUT_CPU"
gcc $flags -O2 -c lib/backend/registry.c -o "$folder/registry.o"
cuda=${CUDA_HOME:-/usr/local/cuda}
# one program for all of them, which goes by the name it is called with: the kernels are the largest part of each
objects= table= declarations=
for t in $tests $benches; do
    name=$(basename "$t")
    objcopy --redefine-sym main="main_$name" "$build/$t.o" "$folder/$name.o"
    objects+=" $folder/$name.o" declarations+="int main_$name(int, char **); " table+="{\"$name\", main_$name}, "
done
cat >"$folder/main.c" <<EOF
#include <stdio.h>
#include <string.h>
/* what takes no arguments ignores them */
$declarations
static const struct { const char *name; int (*run)(int, char **); } program[] = {$table};
int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
    for (size_t i = 0; i < sizeof program / sizeof *program; i++)
        if (strcmp(program[i].name, name) == 0)
            return program[i].run(argc, argv);
    for (size_t i = 0; i < sizeof program / sizeof *program; i++)
        puts(program[i].name);
    return 2;
}
EOF
gcc -O1 "$folder/main.c" $objects "$folder/registry.o" "$build/libanyclass.a" -fopenmp -static-libgcc -L"$cuda/lib64" -L/usr/lib/x86_64-linux-gnu/hdf5/serial \
    -l:libhdf5_serial.a -l:libsz.a -l:libaec.a -l:libz.a -l:libyajl_s.a -l:libxxhash.a -l:libcublasLt.so.13 -l:libcudnn.so.9 -lcudart_static -ldl -lrt -lpthread \
    -lstdc++ -lm -o "$folder/programs"
strip "$folder/programs"
rm -f "$folder"/*.o "$folder/main.c"
mkdir -p "$folder/tests/model/fixtures"
cp tests/model/fixtures/*.json "$folder/tests/model/fixtures/"
mkdir -p "$folder/lib"; cp /usr/lib/x86_64-linux-gnu/libgomp.so.1 "$folder/lib/"
# whole programs, for trainings where MPI and HDF5 are (unpacked packages will do), and what draws something to train on
make -j"${JOBS:-2}" CUDA=1 BUILD=$build LIB=$build/libwhole.a "$@" programs >>"$build.log" 2>&1 || { tail -20 "$build.log"; exit 1; }
mkdir -p "$folder/bin"
for p in train preprocess; do strip -o "$folder/bin/anyclass-$p" "$build/bin/anyclass-$p"; done
make -j"${JOBS:-2}" CUDA= build/release/tests/demo/make_demo_data >>"$build.log" 2>&1
strip -o "$folder/make_demo_data" build/release/tests/demo/make_demo_data
cp tests/gpu/curves.sh "$folder/"
cp bench/peer_gpu.py bench/gpu_table.py tests/gpu/call.sh "$folder/"
[ -e tests/reference ] && cp -r tests/reference "$folder/tests/"
mkdir -p "$folder/shared/golden"
shared=${ANYCLASS_SHARED:-../shared}
[ -e "$shared/golden/models.h5" ] && cp "$shared/golden/models.h5" "$folder/shared/golden/"
du -sh "$folder"
