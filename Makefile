# anyclass: plain GNU make. `make help` lists the targets; config.mk (see config.mk.example) holds site settings.

-include config.mk

VERSION   := 0.1.0
CC        := $(if $(filter default undefined,$(origin CC)),mpicc,$(CC))
PREFIX    ?= /usr/local
VARIANT   ?= release
# CUDA=1: with the CUDA backend (needs nvcc; `make` alone does it where nvcc and cuDNN are found, CUDA= keeps it out);
# CUDA=emulated: with its kernels run on the processor (tests/cuda_host)
CUDA_GIVEN := $(filter-out undefined,$(origin CUDA))
CUDA      ?=
BUILD     ?= build/$(VARIANT)$(if $(CUDA),-cuda$(filter-out 1,$(CUDA)))
# objects that CUDA makes no difference to are shared by the builds with and without it
PLAIN     := $(if $(filter file,$(origin BUILD)),build/$(VARIANT),$(BUILD))
BIN       := $(BUILD)/bin
PKG_CONFIG ?= pkg-config

WARNINGS  := -Wall -Wextra -Wshadow -Wvla -Wundef -Wmissing-prototypes -Wstrict-prototypes
CFLAGS    ?= $(if $(SANITIZE_$(VARIANT)),-g1,-O3 -g) # sanitizers name lines; more of it is a third of their compilation
LIBRARIES := hdf5 libjpeg libpng yajl libxxhash
# evaluated when first used, so that `make deps` can run before pkg-config is there
PKG_CFLAGS = $(eval PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(LIBRARIES) 2>/dev/null))$(PKG_CFLAGS)
# without pkg-config: where CPATH and LIBRARY_PATH lead
PKG_LIBS   = $(eval PKG_LIBS := $(shell $(PKG_CONFIG) --libs $(LIBRARIES) 2>/dev/null || echo -lhdf5 -ljpeg -lpng -lyajl -lxxhash))$(PKG_LIBS)
# no-math-errno and no-trapping-math change no result: they let loops with sqrt and conditions become vector code; no
# product is fused with a sum, whatever the processor has (GCC's default with -std=c11, not every compiler's)
SANITIZE_asan := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1 -DAC_NO_TARGET_CLONES
SANITIZE_tsan := -fsanitize=thread -O1 -DAC_NO_TARGET_CLONES
SANITIZE_fuzz := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1 -DAC_NO_TARGET_CLONES \
                 -DAC_COCO_PIECE_BYTES=64 -DAC_ROWS_BLOCK_BYTES=64
OPENMP    := $(if $(filter fuzz,$(VARIANT)),,-fopenmp)
PLAIN_CFLAGS = -std=c11 -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -DAC_VERSION='"$(VERSION)"' -Iinclude -Ilib -I. \
             $(WARNINGS) -fno-math-errno -fno-trapping-math -ffp-contract=off $(OPENMP) $(PKG_CFLAGS) $(CFLAGS) $(SANITIZE_$(VARIANT))
ALL_CFLAGS = $(PLAIN_CFLAGS) $(CUDA_CFLAGS)
ALL_LIBS   = $(PKG_LIBS) $(CUDA_LIBS) -ldnnl -lm -lpthread

CUDA_HOME ?= /usr/local/cuda
CUDNN_HOME ?= $(CUDA_HOME)
NCCL_HOME ?= $(CUDA_HOME)
CUDA_ARCHS ?= 80 90 100
NVCC      ?= $(CUDA_HOME)/bin/nvcc
CUDA_GENCODE ?= $(foreach a,$(CUDA_ARCHS),-gencode=arch=compute_$(a),code=sm_$(a))
CXX_STD   := -std=c++20
CUDA_SRC  := $(sort $(wildcard lib/backend/cuda/*.cu))
EMULATION_SRC := $(sort $(wildcard tests/cuda_host/*.cc))
EMULATED_LIBRARY_SRC := $(filter-out tests/cuda_host/test_%,$(sort $(wildcard tests/cuda_host/*.c)))
ifeq ($(CUDA),1)
CUDA_CFLAGS := -DAC_WITH_CUDA -isystem $(CUDA_HOME)/include -isystem $(CUDNN_HOME)/include
# NCCL is loaded at run time, from NCCL_HOME/lib if it is there
CUDA_LIB_DIRS := $(CUDA_HOME)/lib64 $(CUDA_HOME)/lib $(CUDNN_HOME)/lib $(NCCL_HOME)/lib
CUDA_LIBS := $(foreach d,$(CUDA_LIB_DIRS),-L$(d) -Wl,-rpath,$(d)) -l:libcublasLt.so.13 -l:libcudnn.so.9 -lcudart_static -ldl -lrt -lstdc++
# products are never fused with sums in the colours' arithmetic (augment_formula.h)
NVCC_OPTIMIZE ?= -O3 -lineinfo
NVCC_FLAGS := $(CXX_STD) $(NVCC_OPTIMIZE) --compress-mode=size -Iinclude -Ilib -I. -DAC_WITH_CUDA $(CUDA_GENCODE) \
              -Xcompiler=-Wall,-Wextra,-Wno-unused-function,-Wno-missing-field-initializers
else ifeq ($(CUDA),emulated)
CUDA_CFLAGS := -DAC_WITH_CUDA -DAC_CUDA_EMULATED -Itests/cuda_host/include
# NCCL's double is found as NCCL is, by name at run time
CUDA_LIBS := -rdynamic -Wl,-u,ncclGetVersion -lstdc++ -ldl -lrt
else ifneq ($(CUDA),)
$(error CUDA is '$(CUDA)': 1 or emulated)
endif

PROGRAMS  := $(patsubst %/main.c,%,$(wildcard preprocess/main.c train/main.c infer/main.c evaluate/main.c simulate/main.c))
LIB_SRC   := $(filter-out lib/backend/cuda/%,$(sort $(wildcard lib/*/*.c lib/*/*/*.c)))
ifeq ($(CUDA),1)
LIB_SRC   += $(sort $(wildcard lib/backend/cuda/*.c))
else ifeq ($(CUDA),emulated)
LIB_SRC   += $(sort $(wildcard lib/backend/cuda/*.c)) $(EMULATED_LIBRARY_SRC)
endif
CUDA_OBJS := $(if $(CUDA),$(CUDA_SRC:%.cu=$(BUILD)/%.cu.o) $(if $(filter emulated,$(CUDA)),$(EMULATION_SRC:%=$(BUILD)/%.o)))
PROG_SRC  := $(filter-out %/main.c,$(sort $(wildcard $(PROGRAMS:%=%/*.c) infer/weights/*.c)))
TEST_PARTS := $(if $(filter emulated,$(CUDA)),$(EMULATED_LIBRARY_SRC),$(wildcard tests/cuda_host/*.c)) tests/demo/scene.c tests/evaluate/browser_link.c
FUZZ_SRC  := $(sort $(wildcard tests/fuzz/*.c))
TEST_SRC  := $(filter-out $(TEST_PARTS) $(FUZZ_SRC),$(sort $(wildcard tests/*/*.c)))
BENCH_SRC := $(sort $(wildcard bench/*.c))
BENCH_PARTS := bench/paper/traffic.c
CUDA_SEEING := $(if $(CUDA),lib/backend/registry.c lib/backend/cuda/% tests/cuda_host/%)
objects    = $(patsubst %.c,$(PLAIN)/%.o,$(filter-out $(CUDA_SEEING),$(1))) $(patsubst %.c,$(BUILD)/%.o,$(filter $(CUDA_SEEING),$(1)))
ASSETS    := lib/chart/colors.css lib/chart/style.css evaluate/report.css evaluate/report.js simulate/page.css simulate/page.html simulate/page.js

# the page of anyclass-simulate runs the loss formulas as WebAssembly; without clang and wasm-ld there is no page, all else is built
WASM_CC   ?= clang
WASM_LD   ?= wasm-ld
WASM_SRC  := simulate/wasm/page.c simulate/surface.c simulate/page_math.c lib/chart/contour.c lib/nn/loss.c
WASM_HEADERS := $(wildcard simulate/*.h simulate/wasm/*.h) $(patsubst %,include/anyclass/%.h,chart loss loss_formula random status)
WASM_FLAGS := -std=c11 --target=wasm32 -O3 -mbulk-memory -nostdlib -nostdlibinc -isystem simulate/wasm -Iinclude -Ilib -I. $(filter-out -Wmissing-prototypes,$(WARNINGS)) \
              -ffp-contract=off -fuse-ld=$(shell command -v $(WASM_LD)) -Wl,--no-entry,--strip-all
WASM_TOOLS := $(and $(shell command -v $(WASM_CC)),$(shell command -v $(WASM_LD)))
PAGE      := simulate/$(if $(WASM_TOOLS),page,no_page).wasm
LIB       := $(BUILD)/libanyclass.a
BINS      := $(PROGRAMS:%=$(BIN)/anyclass-%) $(BIN)/anyclass-weights
TEST_BINS := $(TEST_SRC:%.c=$(BUILD)/%)
BENCH_BINS := $(BENCH_SRC:%.c=$(BUILD)/%)
FUZZ_BINS := $(FUZZ_SRC:%.c=$(BUILD)/%)
FUZZ_TARGETS ?= $(filter-out seeds,$(FUZZ_SRC:tests/fuzz/%.c=%))
FUZZ_LIB  := $(BUILD)/libparsers.a
FUZZ_LIB_SRC := $(filter lib/core/% lib/image/% lib/data/% lib/hdf5/% lib/checkpoint/%,$(LIB_SRC))
OBJS      := $(call objects,$(LIB_SRC) $(PROG_SRC) $(PROGRAMS:%=%/main.c) infer/weights/main.c $(TEST_SRC) $(filter-out tests/cuda_host/%,$(TEST_PARTS)) $(BENCH_SRC) $(BENCH_PARTS) $(FUZZ_SRC))

DEBIAN_PACKAGES := gcc make pkg-config perl openmpi-bin libopenmpi-dev libhdf5-dev libjpeg62-turbo-dev libpng-dev \
                   libdnnl-dev libyajl-dev libxxhash-dev
FUZZ_PACKAGES   := clang libclang-rt-dev
BROWSER_PACKAGES := chromium fonts-dejavu-core
SLURM_PACKAGES  := slurm-wlm munge iproute2
PAGE_PACKAGES   := clang lld

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all link-programs install-files programs tests benches help info need-deps deps browser slurm-packages demo check check-run check-emulated check-emulated-run check-neon check-valgrind check-slurm check-slurm-run asan tsan lint format \
        install headers-alone bench bench-image check-gpu bench-gpu fuzz fuzz-run clean

CUDA_FOUND = $(and $(wildcard $(NVCC)),$(wildcard $(CUDNN_HOME)/include/cudnn.h /usr/include/cudnn.h /usr/include/x86_64-linux-gnu/cudnn.h))
CUDA_OR_NOT = $(if $(CUDA_GIVEN),CUDA=$(CUDA),$(if $(CUDA_FOUND),CUDA=1,CUDA=))

all: need-deps ## build all programs into bin/, for GPUs too where nvcc and cuDNN are found
	@$(MAKE) --no-print-directory $(CUDA_OR_NOT) programs link-programs

link-programs:
	@mkdir -p bin && ln -sf $(BINS:%=../%) bin/

programs: $(BINS)
tests: $(BINS) $(TEST_BINS)
benches: $(BINS) $(BENCH_BINS)

$(BUILD)/%.o: %.c Makefile $(wildcard config.mk)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

ifneq ($(PLAIN),$(BUILD))
$(PLAIN)/%.o: %.c Makefile $(wildcard config.mk)
	@mkdir -p $(@D)
	$(CC) $(PLAIN_CFLAGS) -MMD -MP -c $< -o $@
endif

# style sheets and scripts as C strings: evaluate/report.css is evaluate_report_css, lib/chart/style.css is ac_chart_style_css
$(PLAIN)/%.asset.c: % Makefile
	@mkdir -p $(@D)
	@{ echo 'extern const char $(subst /,_,$(subst .,_,$(<:lib/%=ac_%)))[];'; \
	   echo 'const char $(subst /,_,$(subst .,_,$(<:lib/%=ac_%)))[] ='; sed 's/[\\"]/\\&/g; s/.*/"&\\n"/' $<; echo ';'; } > $@

$(PLAIN)/simulate/page.wasm: $(WASM_SRC) $(WASM_HEADERS) Makefile
	@mkdir -p $(@D)
	$(WASM_CC) $(WASM_FLAGS) $(WASM_SRC) -o $@

$(PLAIN)/simulate/no_page.wasm: Makefile
	@mkdir -p $(@D)
	@echo "no $(WASM_CC) or no $(WASM_LD): anyclass-simulate is built without its page (Debian's packages clang and lld)" >&2
	@: > $@

$(PLAIN)/%.wasm.asset.c: $(PLAIN)/%.wasm
	@{ echo 'extern const unsigned char simulate_page_wasm[]; extern const unsigned long simulate_page_wasm_bytes;'; \
	   echo 'const unsigned char simulate_page_wasm[] = {'; od -An -v -tu1 $< | sed 's/^ *//; s/  */,/g; s/$$/,/'; echo '0};'; \
	   echo "const unsigned long simulate_page_wasm_bytes = $$(wc -c < $<);"; } > $@

$(PLAIN)/%.asset.o: $(PLAIN)/%.asset.c
	$(CC) $(ALL_CFLAGS) -c $< -o $@

ifeq ($(CUDA),1)
$(BUILD)/%.cu.o: %.cu Makefile $(wildcard config.mk)
	@mkdir -p $(@D)
	$(NVCC) $(NVCC_FLAGS) $(NVCC_FLAGS_$(notdir $*)) -MMD -MP -MF $(@:.o=.d) -c $< -o $@
NVCC_FLAGS_image_input := -fmad=false
else
CXX ?= g++
ALL_CXXFLAGS = $(CXX_STD) -D_GNU_SOURCE -Iinclude -Ilib -I. -Wall -Wextra -Wno-unknown-pragmas -Wno-missing-field-initializers -Wno-unused-function \
               -ffp-contract=off $(CUDA_CFLAGS) $(CFLAGS) $(SANITIZE_$(VARIANT))
$(BUILD)/%.cu.o: %.cu Makefile $(wildcard config.mk)
	@mkdir -p $(@D)
	$(CXX) $(ALL_CXXFLAGS) -MMD -MP -x c++ -c $< -o $@
$(BUILD)/%.cc.o: %.cc Makefile $(wildcard config.mk)
	@mkdir -p $(@D)
	$(CXX) $(ALL_CXXFLAGS) -MMD -MP -c $< -o $@
endif

$(LIB): $(call objects,$(LIB_SRC) $(PROG_SRC)) $(ASSETS:%=$(PLAIN)/%.asset.o) $(if $(ASSETS),$(PLAIN)/$(PAGE).asset.o) $(CUDA_OBJS)
	@rm -f $@
	ar rcs $@ $^

$(BIN)/anyclass-%: $(PLAIN)/%/main.o $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) $^ $(ALL_LIBS) -o $@

$(BIN)/anyclass-weights: $(PLAIN)/infer/weights/main.o $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) $^ $(ALL_LIBS) -o $@

ifneq ($(PLAIN),$(BUILD))
$(BUILD)/tests/cuda_host/%: $(BUILD)/tests/cuda_host/%.o $(LIB)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) $(filter %.o,$^) $(LIB) $(ALL_LIBS) -o $@
endif

$(BUILD)/tests/%: $(PLAIN)/tests/%.o $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) $(filter %.o,$^) $(LIB) $(ALL_LIBS) -o $@

$(BUILD)/tests/demo/make_demo_data: $(PLAIN)/tests/demo/scene.o
$(BUILD)/tests/evaluate/browser $(BUILD)/tests/simulate/page: $(PLAIN)/tests/evaluate/browser_link.o
$(BUILD)/tests/cuda_host/test_emulation: $(BUILD)/tests/cuda_host/faulty.cu.o

$(BUILD)/bench/estimate: $(PLAIN)/bench/paper/traffic.o

$(BUILD)/bench/%: $(PLAIN)/bench/%.o $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) $^ $(ALL_LIBS) -o $@

-include $(OBJS:.o=.d) $(CUDA_OBJS:.o=.d)

need-deps: ## install what is missing, say nothing otherwise
	@command -v mpirun >/dev/null && command -v $(firstword $(CC)) >/dev/null && command -v prove >/dev/null && \
	  printf '#include <%s>\n' stdio.h hdf5.h jpeglib.h png.h yajl/yajl_parse.h xxhash.h dnnl.h | $(CC) $(PKG_CFLAGS) -E - >/dev/null 2>&1 || \
	  $(MAKE) --no-print-directory deps
	@{ command -v $(WASM_CC) && command -v $(WASM_LD); } >/dev/null || $(MAKE) --no-print-directory deps DEBIAN_PACKAGES='$(PAGE_PACKAGES)' || \
	  echo "anyclass-simulate will have no page: no $(WASM_CC) or no $(WASM_LD)" >&2

deps: ## install the Debian packages (root or sudo)
	@command -v apt-get >/dev/null || { echo "make deps knows Debian's apt-get only; needed: $(DEBIAN_PACKAGES)" >&2; exit 1; }
	@as=""; if [ "$$(id -u)" != 0 ]; then command -v sudo >/dev/null || { echo "make deps: run as root or install sudo" >&2; exit 1; }; as=sudo; fi; \
	  $$as apt-get update -qq && $$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(DEBIAN_PACKAGES)

browser: ## install the browser that the report is tested in
	@command -v chromium >/dev/null || $(MAKE) --no-print-directory deps DEBIAN_PACKAGES='$(BROWSER_PACKAGES)'

slurm-packages: ## install what check-slurm needs (root or sudo)
	@command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null && command -v ip >/dev/null || \
	  $(MAKE) --no-print-directory deps DEBIAN_PACKAGES='$(SLURM_PACKAGES)'

demo: need-deps ## demo data through all four programs on 2 ranks, under build/demo
	@$(MAKE) --no-print-directory tests
	@[ -e bin/anyclass-train ] || $(MAKE) --no-print-directory link-programs
	@BIN=$(BIN) tests/demo/run.sh

check: need-deps ## build and run every test that needs no GPU
	@$(MAKE) --no-print-directory check-run

# with TESTS: those alone, and the programs that shell tests start
TEST_HELPERS := $(foreach source,$(TEST_SRC),$(if $(filter test_%,$(notdir $(source))),,$(source)))
CHOSEN_TESTS := $(filter $(TEST_SRC),$(wildcard $(TESTS)))
check-run: $(if $(TESTS),$(BINS) $(sort $(patsubst %.c,$(BUILD)/%,$(TEST_HELPERS) $(CHOSEN_TESTS))),tests)
	@$(MAKE) --no-print-directory headers-alone
	@BUILD=$(BUILD) BIN=$(BIN) tests/run $(TESTS)

# the asan build takes a sixth of the operators' cases, no whole models and no trainings, and shuffles streams and threads
EMULATED_TESTS ?= $(filter-out $(if $(filter asan,$(VARIANT)),tests/cuda_host/test_models.c tests/cuda_host/ranks.t),$(sort $(wildcard tests/cuda_host/test_*.c \
                  tests/cuda_host/*.t tests/nn/test_operators*.c)))
EMULATED_ORDER := $(if $(filter asan,$(VARIANT)),ANYCLASS_TEST_PART=0/6 ANYCLASS_EMULATE_STREAMS=1 ANYCLASS_EMULATE_ORDER=1)
check-emulated: need-deps ## the CUDA backend on the processor: streams, recordings, every operator (VARIANT=asan: under AddressSanitizer)
	@$(MAKE) --no-print-directory CUDA=emulated check-emulated-run

EMULATED_PARTS := $(BINS) $(addprefix $(BUILD)/tests/,demo/make_demo_data comm/device_ranks train/failing_rank train/damaged_rank) # of ranks.t

check-emulated-run: $(patsubst %.c,$(BUILD)/%,$(filter %.c,$(EMULATED_TESTS))) $(if $(filter %.t,$(EMULATED_TESTS)),$(EMULATED_PARTS))
	@ANYCLASS_TEST_BACKEND=cuda BUILD=$(BUILD) BIN=$(BIN) $(EMULATED_ORDER) tests/run $(EMULATED_TESTS)

asan tsan: need-deps ## build and run the tests with AddressSanitizer + UBSan / ThreadSanitizer
	@$(MAKE) --no-print-directory VARIANT=$@ check-run

fuzz: need-deps ## libFuzzer on every parser (installs clang); findings in build/fuzz/found
	@echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | clang -fsanitize=fuzzer -x c - -o /dev/null 2>/dev/null || \
	  $(MAKE) --no-print-directory deps DEBIAN_PACKAGES='$(FUZZ_PACKAGES)'
	@$(MAKE) --no-print-directory VARIANT=fuzz CC=clang fuzz-run

fuzz-run: $(FUZZ_BINS)
	@BUILD=$(BUILD) FUZZ_RUNS=$(FUZZ_RUNS) FUZZ_SEED=$(FUZZ_SEED) tests/fuzz/run $(FUZZ_TARGETS)

$(FUZZ_LIB): $(FUZZ_LIB_SRC:%.c=$(BUILD)/%.o)
	@rm -f $@
	ar rcs $@ $^

# a target has no main: libFuzzer brings it
$(BUILD)/tests/fuzz/%: $(BUILD)/tests/fuzz/%.o $(FUZZ_LIB)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) $(if $(filter seeds,$*),,-fsanitize=fuzzer) $^ $(PKG_LIBS) -lm -lpthread -o $@

# the resize alone: it needs no library that would have to be there for the other processor
NEON_CC   ?= aarch64-linux-gnu-gcc
NEON_RUN  ?= qemu-aarch64 -L /usr/aarch64-linux-gnu
NEON_SRC  := tests/image/test_resize.c $(wildcard lib/image/resize*.c) lib/image/image.c lib/image/png_chunks.c \
             lib/core/alloc.c lib/core/status.c
NEON_PACKAGES := gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user

check-neon: ## the NEON resize, cross-compiled and run under qemu-user (installs both)
	@command -v $(NEON_CC) >/dev/null && command -v $(firstword $(NEON_RUN)) >/dev/null || \
	  $(MAKE) --no-print-directory deps DEBIAN_PACKAGES='$(NEON_PACKAGES)'
	@mkdir -p build/neon
	$(NEON_CC) -std=c11 -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -Iinclude -Ilib -I. $(WARNINGS) -O2 -g $(NEON_SRC) -lm -o build/neon/test_resize
	@$(NEON_RUN) build/neon/test_resize > build/neon/test_resize.tap; status=$$?; cat build/neon/test_resize.tap; \
	  grep -q '^ok .* - neon equals plain' build/neon/test_resize.tap || status=1; \
	  echo "$$(grep -c '^ok [0-9]* - ' build/neon/test_resize.tap) passed, $$(grep -c '^not ok' build/neon/test_resize.tap) failed"; exit $$status

check-valgrind: tests ## one training step under Valgrind (installs it)
	@command -v valgrind >/dev/null || $(MAKE) --no-print-directory deps DEBIAN_PACKAGES=valgrind
	@BUILD=$(BUILD) BIN=$(BIN) tests/valgrind

# a test is mostly waiting: more of them at a time than there are cores
check-slurm: need-deps ## the jobs of slurm/ on a two-node Slurm cluster of this machine's own (root; installs Slurm; skipped otherwise)
	@[ "$$(id -u)" != 0 ] || $(MAKE) --no-print-directory slurm-packages
	@$(MAKE) --no-print-directory check-slurm-run

check-slurm-run: $(BINS) $(BUILD)/tests/demo/make_demo_data
	@BUILD=$(BUILD) BIN=$(BIN) TEST_JOBS=$${TEST_JOBS:-4} TAP=tap-slurm tests/run 'tests/slurm/*.t'

headers-alone: $(patsubst include/%.h,$(BUILD)/alone/%.ok,$(wildcard include/anyclass/*.h))
$(BUILD)/alone/%.ok: include/%.h
	@mkdir -p $(@D)
	@echo '#include "$*.h"' | $(CC) $(ALL_CFLAGS) -Werror -x c -fsyntax-only - && touch $@

bench: need-deps ## speed against peers (needs Python with torch: bench/README.md)
	@$(MAKE) --no-print-directory benches $(BUILD)/tests/demo/make_demo_data
	@MODELS="$${MODELS:-resnet50}" BATCHES="$${BATCHES:-8}" PRECISIONS="$${PRECISIONS:-32}" WORK="$${WORK:-training}" bench/train.sh 2

GPU_FOLDER := .gpu
check-gpu: ## operators, training steps, golden models and trainings on this machine's GPU (CUDA_ARCHS=90: for one kind)
	tests/gpu/pack.sh $(GPU_FOLDER) CUDA_ARCHS="$(CUDA_ARCHS)"
	OUT=$(abspath $(BUILD))/gpu $(GPU_FOLDER)/call.sh about check trainings sanitize

bench-gpu: ## time and memory of steps on this machine's GPU, beside PyTorch's where there is one
	tests/gpu/pack.sh $(GPU_FOLDER) CUDA_ARCHS="$(CUDA_ARCHS)"
	OUT=$(abspath $(BUILD))/gpu DEADLINE_S=3600 $(GPU_FOLDER)/call.sh about steps from_shards ops peers compiled eager

bench-image: need-deps ## decode and resize against libjpeg-turbo and Pillow (bench/README.md)
	@$(MAKE) --no-print-directory benches
	@bench/image.sh

lint: ## static analysis and script checks
	@for file in $$(git ls-files '*.sh' '*.t' '*.sbatch' slurm/submit tests/run tests/exec tests/fuzz/run .ci/run); do bash -O extglob -n "$$file" || exit; done
	@command -v shellcheck >/dev/null || { echo "make lint needs shellcheck (apt-get install shellcheck)" >&2; exit 1; }
	shellcheck slurm/submit slurm/*.sh slurm/*.sbatch
	@command -v cppcheck >/dev/null || { echo "make lint needs cppcheck (apt-get install cppcheck)" >&2; exit 1; }
	cppcheck --quiet --std=c11 --enable=warning,portability --inline-suppr --error-exitcode=1 \
	  --suppress=internalAstError -Iinclude -Ilib lib $(PROGRAMS)

format: ## clang-format in place
	@command -v clang-format >/dev/null || { echo "make format needs clang-format (apt-get install clang-format)" >&2; exit 1; }
	clang-format -i $$(git ls-files '*.c' '*.h' '*.cu' '*.cuh')

install: ## the programs that `make` builds, library and headers into DESTDIR/PREFIX
	@$(MAKE) --no-print-directory $(CUDA_OR_NOT) install-files

install-files: programs
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib $(DESTDIR)$(PREFIX)/include/anyclass $(DESTDIR)$(PREFIX)/share/doc/anyclass
	install -m 755 $(BINS) $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(LIB) $(DESTDIR)$(PREFIX)/lib
	install -m 644 include/anyclass/*.h $(DESTDIR)$(PREFIX)/include/anyclass
	install -m 644 README.md docs/*.md $(DESTDIR)$(PREFIX)/share/doc/anyclass

info: ## what this build uses
	@echo "version $(VERSION), variant $(VARIANT), compiler: $$($(CC) --version | head -1)"
	@echo "flags: $(ALL_CFLAGS)"
	@for l in $(LIBRARIES); do echo "$$l $$($(PKG_CONFIG) --modversion $$l)"; done

help: ## this list
	@awk -F':.*## ' '/^[a-z -]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' Makefile
	@echo "  variables: CC CFLAGS PREFIX DESTDIR VARIANT=release|asan|tsan TESTS='tests/core/*'"
	@echo "  make fuzz: FUZZ_RUNS=20000 FUZZ_SEED=1 (0: another each time) FUZZ_TARGETS='$(FUZZ_TARGETS)'"

clean: ## remove build/ and bin/
	rm -rf build bin
