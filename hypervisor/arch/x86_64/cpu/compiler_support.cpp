// SPDX-License-Identifier: BSD-2-Clause
// Functions that the compiler may call, and that a freestanding program has to bring along.
extern "C" [[gnu::used]] int __popcountdi2(unsigned long value);

int __popcountdi2(unsigned long value) {
    int count = 0;
    for (; value != 0; value &= value - 1) ++count;
    return count;
}
