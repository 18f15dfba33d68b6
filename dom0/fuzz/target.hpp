// SPDX-License-Identifier: BSD-2-Clause
// What a fuzz target defines: the function that libFuzzer calls, and a good input to start from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace cero::fuzz {

[[nodiscard]] std::string make_seed();

} // namespace cero::fuzz
