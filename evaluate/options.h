/* Rows of the option table that anyclass-evaluate and its compare share. Private to this folder. */
#ifndef ANYCLASS_EVALUATE_OPTIONS_H
#define ANYCLASS_EVALUATE_OPTIONS_H

#include "anyclass/option.h"

/* The group "Labels"; AT(field) is the offset of that field of evaluate_config in the table's struct. */
#define EVALUATE_LABEL_OPTIONS(AT)                                                                                         \
    {.group = "Labels",                                                                                                    \
     .name = "split",                                                                                                      \
     .type = AC_OPTION_CHOICE,                                                                                             \
     .offset = AT(split),                                                                                                  \
     .fallback = "Val",                                                                                                    \
     .choices = AC_SPLIT_CHOICES,                                                                                          \
     .help = "Split whose scores and labels are taken."},                                                                  \
        {.name = "data_root",                                                                                              \
         .type = AC_OPTION_STRING,                                                                                         \
         .offset = AT(data_root),                                                                                          \
         .unit = "DIR",                                                                                                    \
         .help = "Folder of the shards that anyclass-preprocess wrote."},                                                  \
        {.name = "labels",                                                                                                 \
         .type = AC_OPTION_STRING,                                                                                         \
         .offset = AT(labels),                                                                                             \
         .unit = "FILE",                                                                                                   \
         .help = "Labels from a CSV instead: file name, then one 0/1 column per class."},                                  \
        {.name = "dataset",                                                                                                \
         .type = AC_OPTION_CHOICE,                                                                                         \
         .offset = AT(dataset),                                                                                            \
         .fallback = "none",                                                                                               \
         .choices = "none|sewer|coco|chest|csv",                                                                           \
         .help = "Labels from annotations instead, of this kind; goes with --ann_root."},                                  \
        {.name = "ann_root",                                                                                               \
         .type = AC_OPTION_STRING,                                                                                         \
         .offset = AT(ann_root),                                                                                           \
         .unit = "PATH",                                                                                                   \
         .help = "Annotations: their folder or file."},                                                                    \
    {                                                                                                                      \
        .name = "label_weights", .type = AC_OPTION_STRING, .offset = AT(label_weights), .fallback = "auto", .unit = "WHICH", \
        .help = "Class weights of CIW-F2: sewer, none, a CSV (class,weight), or auto: sewer's where all classes are its."  \
    }

/* Opens the group GROUP. */
#define EVALUATE_THRESHOLD_OPTION(AT, GROUP)                                                                               \
    {                                                                                                                      \
        .group = GROUP, .name = "threshold", .type = AC_OPTION_DOUBLE, .offset = AT(threshold), .fallback = "0.5", .max = 1, \
        .help = "A class is predicted where its score is at least this."                                                   \
    }

#endif
