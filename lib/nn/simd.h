/* AC_SIMD in front of a function: compiled for several x86-64 levels, the right one picked when the program starts. */
#ifndef ANYCLASS_LIB_NN_SIMD_H
#define ANYCLASS_LIB_NN_SIMD_H

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && !defined(AC_NO_TARGET_CLONES)
#define AC_SIMD __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define AC_SIMD
#endif

#endif
