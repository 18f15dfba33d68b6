// SPDX-License-Identifier: BSD-2-Clause
// What gdb is tried on: a variable to watch, functions to stop in.
#include <cstdio>

volatile int counter;
[[gnu::noinline]] void step() {
    counter = counter + 1;
}
[[gnu::noinline]] void last() {
    std::puts("the last function");
}

int main() {
    for (int n = 0; n < 5; ++n)
        step();
    last();
}
