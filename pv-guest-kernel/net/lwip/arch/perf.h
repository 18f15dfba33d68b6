/* SPDX-License-Identifier: BSD-2-Clause */
/* lwIP's profiling hooks: unused. */
#define PERF_START
#define PERF_STOP(x)
