// SPDX-License-Identifier: BSD-2-Clause
// Runs a fuzz target without libFuzzer: named files, or else mutations of the target's seed.
#include "fuzz/target.hpp"

#include <cstdio>
#include <fstream>
#include <iterator>
#include <random>

namespace {

void run(const std::string& bytes) {
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}

} // namespace

int main(int argc, char** argv) {
    for (int n = 1; n < argc; ++n) {
        std::ifstream file{argv[n], std::ios::binary};
        run({std::istreambuf_iterator<char>{file}, {}});
    }
    if (argc > 1)
        return 0;
    const cero::fuzz::Seed seed = cero::fuzz::make_seed();
    std::mt19937 random{1};
    for (unsigned round = 0; round < seed.rounds; ++round) {
        std::string bytes = seed.bytes;
        for (auto n = random() % 8; n > 0; --n)
            bytes[random() % seed.head] =
                static_cast<char>(random() % 3 == 0 ? 0xff : random() % 256);
        if (random() % 3 == 0)
            bytes.resize(random() % bytes.size());
        run(bytes);
    }
    std::printf("%u inputs\n", seed.rounds);
    return 0;
}
