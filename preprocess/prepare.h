/* The commands of anyclass-preprocess: what is done to annotations before shards are made, and what shards are asked
 * afterwards. Each is an option table and a function; rank 0 alone does what is not said to be collective. */
#ifndef ANYCLASS_PREPROCESS_PREPARE_H
#define ANYCLASS_PREPROCESS_PREPARE_H

#include "anyclass/dataset.h"
#include "anyclass/file.h"
#include "anyclass/program.h"

/* name, what it does: one line of --help */
#define PREPARE_COMMANDS(X)                                                                                            \
    X(verify, "re-read shards and name what is damaged")                                                               \
    X(stage, "copy shards to a disk of each machine, every byte checked")                                             \
    X(statistics, "mean and deviation of a split's pixels, per channel")                                               \
    X(coco_filter, "drop COCO categories and give the others ids without gaps")                                        \
    X(coco_split, "merge COCO instances files and divide them anew, by the class of the first annotation")             \
    X(chest_split, "divide ChestX-ray14 by patients, or by the official lists")                                        \
    X(sewer_subset, "draw a smaller SewerML split: so many defective images, and normal ones in proportion")

typedef struct prepare_command {
    const char *name;
    const ac_program *program;
    /* Its work. Collective commands are called on all ranks, others on rank 0. */
    ac_status (*run)(ac_run *run, const void *config);
    bool is_collective;
} prepare_command;

#define PREPARE_DECLARE(name, text) extern const prepare_command prepare_##name;
PREPARE_COMMANDS(PREPARE_DECLARE)
#undef PREPARE_DECLARE

/* The command that `word` names ('_' and '-' alike); NULL when there is none. */
const prepare_command *prepare_find(const char *word);
/* Run it: argv[0] is its name. Collective. Returns the exit code. */
int prepare_run(const prepare_command *command, MPI_Comm comm, int argc, char **argv);

/* Say that `word` is no command, and which there are. Collective. Returns the exit code. */
int prepare_refuse(const char *word, MPI_Comm comm, char **argv);

enum { PREPARE_CONFIG_BYTES = 1024 }; /* room for any command's config */

/* AC_ERR_USAGE for a file that is there, unless `overwrite`. */
ac_status prepare_check_output(const char *path, bool overwrite);
/* Check that `folder` can be written in, and make it unless `dry_run`. */
ac_status prepare_make_folder(const char *folder, bool dry_run);
/* The folder a file lies in. */
ac_status prepare_folder_of(const char *path, char folder[AC_PATH_BYTES]);
/* Remove a file that is to be replaced, if it is there, once its successor is safe (ac_file_sync): a set of outputs is replaced as a whole, so that a run that is
 * killed in between leaves some of them missing, and never splits of two different divisions. */
ac_status prepare_remove_old(const char *path);
/* --fractions of Train, Val and Test; the default when none are given. AC_ERR_USAGE. */
ac_status prepare_fractions(const ac_double_list *given, double fraction[AC_N_SPLITS]);

#define PREPARE_SEED_OPTION(config)                                                                                    \
    {                                                                                                                  \
        .group = "Choice", .name = "seed", .type = AC_OPTION_INT, .offset = offsetof(config, seed), .fallback = "1",   \
        .min = 0, .max = 1e15, .help = "The result is a function of the inputs and this number."                       \
    }
#define PREPARE_FRACTIONS_OPTION(config)                                                                               \
    {                                                                                                                  \
        .name = "fractions", .type = AC_OPTION_DOUBLES, .offset = offsetof(config, fractions), .min = 0, .max = 1,     \
        .unit = "TRAIN VAL TEST", .help = "Parts of the whole, with the sum 1. Default: 0.7 0.15 0.15."                \
    }
#define PREPARE_OVERWRITE_OPTION(config)                                                                               \
    {                                                                                                                  \
        .name = "overwrite", .type = AC_OPTION_FLAG, .offset = offsetof(config, overwrite), .fallback = "false",       \
        .help = "Replace outputs that are there, instead of refusing."                                                 \
    }

#endif
