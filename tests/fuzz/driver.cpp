// SPDX-License-Identifier: BSD-2-Clause
// Runs a fuzz target without libFuzzer: files that are named, or else mutations of a seed.
#include "../unit/hypervisor/elf_builder.hpp"

#include <cstdio>
#include <fstream>
#include <iterator>
#include <random>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int argc, char** argv) {
    for (int n = 1; n < argc; ++n) {
        std::ifstream file{argv[n], std::ios::binary};
        const std::vector<char> bytes{std::istreambuf_iterator<char>{file}, {}};
        LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    }
    if (argc > 1)
        return 0;
    const cero::test::Bytes seed = cero::test::linux_like().build();
    std::mt19937 random{1};
    constexpr unsigned rounds = 100'000;
    for (unsigned round = 0; round < rounds; ++round) {
        cero::test::Bytes bytes = seed;
        for (unsigned n = random() % 8; n > 0; --n)
            bytes[random() % 600] = static_cast<std::byte>(random() % 3 == 0 ? 0xff : random());
        bytes.resize(random() % 3 == 0 ? random() % bytes.size() : bytes.size());
        LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    }
    std::printf("%u inputs\n", rounds);
    return 0;
}
