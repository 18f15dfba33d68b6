/* SPDX-License-Identifier: BSD-2-Clause */
/* Included before every file: declarations too are hidden, so that no access goes through a GOT. */
#pragma GCC visibility push(hidden)
