// SPDX-License-Identifier: BSD-2-Clause
// flags: -static -g -O0 -fno-inline
// Ends with a segmentation fault two calls deep, for a core dump that a debugger reads.
static volatile int marker = 20260;

static void inner(volatile int* nowhere) {
    *nowhere = marker;
}

static void outer(int depth) {
    inner((volatile int*)0);
    marker = depth;
}

int main(void) {
    outer(1);
    return 0;
}
