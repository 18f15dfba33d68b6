// SPDX-License-Identifier: BSD-2-Clause
// What a fuzz target defines: the function that libFuzzer calls, and what a driver without
// libFuzzer starts from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace cero::fuzz {

struct Seed {
    std::string bytes;              ///< a good input
    std::size_t head{bytes.size()}; ///< how much of its beginning is worth changing
    unsigned rounds{20'000};
};
[[nodiscard]] Seed make_seed();

} // namespace cero::fuzz
