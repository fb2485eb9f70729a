/* Inside of the option table, shared by parsing and the --config / --dump_config documents. */
#ifndef ANYCLASS_LIB_CORE_OPTION_INTERNAL_H
#define ANYCLASS_LIB_CORE_OPTION_INTERNAL_H

#include "anyclass/option.h"

struct ac_options {
    const ac_program *program;
    unsigned char *given;   /* [n_options] 1: --config, 2: command line */
    void **owned;           /* strings and lists the config points to */
    size_t n_owned, owned_capacity;
};

/** Set one option's field from `n` words (flags: "true" / "false"). AC_ERR_USAGE naming the option. */
AC_NODISCARD ac_status option_set(ac_options *options, const ac_option *option, void *config, const char *const *words, size_t n);
/** Row by name ('-' equals '_'), or NULL. */
const ac_option *option_find(const ac_program *program, const char *name, size_t n);
/** Read a --config file into `config`. */
AC_NODISCARD ac_status option_load_config(ac_options *options, const char *path, void *config);

#endif
