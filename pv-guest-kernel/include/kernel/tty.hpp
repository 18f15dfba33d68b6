// SPDX-License-Identifier: BSD-2-Clause
// Terminals: the interface between a console backend and the tty layer.
#pragma once

#include <cero/lib/result.hpp>

#include <cstddef>

namespace kernel {

/// The upper half: what a console backend calls. Any context.
class ConsoleReceiver {
public:
    virtual void receive(const char* data, std::size_t size) noexcept = 0;
    /// There is room for output again.
    virtual void writable() noexcept = 0;

protected:
    ~ConsoleReceiver() = default;
};

/// The lower half: a character channel, e.g. the PV console ring or dom0's console_io.
class ConsoleDevice {
public:
    /// Queues as much as fits without blocking; yields the count. Any context.
    virtual std::size_t write(const char* data, std::size_t size) noexcept = 0;
    /// Called once, before any input is delivered.
    virtual void set_receiver(ConsoleReceiver& receiver) noexcept = 0;

protected:
    ~ConsoleDevice() = default;
};

/// Makes /dev/<name> (e.g. "hvc0") a terminal on `device`. The first one is also /dev/console.
cero::Status register_console(ConsoleDevice& device, const char* name) noexcept;

} // namespace kernel
