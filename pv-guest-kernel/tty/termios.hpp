// SPDX-License-Identifier: BSD-2-Clause
// Terminal settings as TCGETS and TCSETS carry them.
#pragma once

#include <cstdint>

namespace kernel::tty {

namespace input_flag {
inline constexpr std::uint32_t ignbrk = 1, brkint = 2, istrip = 040, inlcr = 0100, igncr = 0200,
                               icrnl = 0400, ixon = 02000, ixany = 04000, imaxbel = 020000,
                               iutf8 = 040000;
}
namespace output_flag {
inline constexpr std::uint32_t opost = 1, onlcr = 4, ocrnl = 010, onocr = 020, onlret = 040;
}
namespace control_flag {
inline constexpr std::uint32_t b38400 = 017, cs8 = 060, cread = 0200, hupcl = 02000;
}
namespace local_flag {
inline constexpr std::uint32_t isig = 1, icanon = 2, echo = 010, echoe = 020, echok = 040,
                               echonl = 0100, noflsh = 0200, tostop = 0400, echoctl = 01000,
                               echoprt = 02000, echoke = 04000, iexten = 0100000;
}

/// Indices into Termios::cc.
enum ControlCharacter : unsigned {
    vintr,
    vquit,
    verase,
    vkill,
    veof,
    vtime,
    vmin,
    vswtc,
    vstart,
    vstop,
    vsusp,
    veol,
    vreprint,
    vdiscard,
    vwerase,
    vlnext,
    veol2,
};

struct Termios {
    std::uint32_t input;
    std::uint32_t output;
    std::uint32_t control;
    std::uint32_t local;
    std::uint8_t line;
    std::uint8_t cc[19];
};
static_assert(sizeof(Termios) == 36);

inline constexpr Termios default_termios = {
    input_flag::icrnl | input_flag::ixon | input_flag::iutf8,
    output_flag::opost | output_flag::onlcr,
    control_flag::b38400 | control_flag::cs8 | control_flag::cread | control_flag::hupcl,
    local_flag::isig | local_flag::icanon | local_flag::echo | local_flag::echoe |
        local_flag::echok | local_flag::echoctl | local_flag::echoke | local_flag::iexten,
    0,
    {3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0}};

struct WindowSize {
    std::uint16_t rows, columns, x_pixels, y_pixels;
};

} // namespace kernel::tty
