// SPDX-License-Identifier: BSD-2-Clause
// Texts of errno values.
#include "base/error.hpp"

#include <cstring>

namespace cero {

std::string errno_text(int number) {
    const char* text = ::strerrordesc_np(number);
    return text != nullptr ? text : fmt::format("error {}", number);
}

} // namespace cero
