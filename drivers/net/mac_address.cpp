// SPDX-License-Identifier: BSD-2-Clause
// The text form of MAC addresses, as XenStore keys have it.
#include <cero/driver/net.hpp>

namespace drivers {

bool parse_mac(const char* text, MacAddress& mac) noexcept {
    for (unsigned i = 0; i < 6; ++i) {
        unsigned byte = 0;
        for (unsigned digit = 0; digit < 2; ++digit, ++text) {
            const char lower = static_cast<char>(*text | 0x20);
            if (*text >= '0' && *text <= '9')
                byte = byte * 16 + static_cast<unsigned>(*text - '0');
            else if (lower >= 'a' && lower <= 'f')
                byte = byte * 16 + static_cast<unsigned>(lower - 'a') + 10;
            else
                return false;
        }
        mac.byte[i] = static_cast<std::uint8_t>(byte);
        if (i < 5 && *text++ != ':')
            return false;
    }
    return *text == '\0';
}

} // namespace drivers
