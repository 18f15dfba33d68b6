// SPDX-License-Identifier: BSD-2-Clause
// Console terminals: /dev/hvcN on console backends, /dev/console for the first, /dev/tty for one's
// own.
#include "tty.hpp"
#include <kernel/device.hpp>
#include <kernel/initcall.hpp>
#include <kernel/process_api.hpp>

#include <new>

namespace kernel {
namespace tty {

namespace {

constexpr std::uint32_t hvc_major = 229;
constexpr std::uint32_t tty_major = 5;

/// Joins a console backend and a terminal. Lives for ever.
class ConsoleTty final : public ConsoleReceiver, public TtyDriver {
public:
    ConsoleTty(ConsoleDevice& device, DeviceNumber number) noexcept
        : device_{device}, tty_{*this, number} {
        device_.set_receiver(*this);
    }
    std::size_t write(const char* data, std::size_t size) noexcept override {
        return device_.write(data, size);
    }
    void receive(const char* data, std::size_t size) noexcept override {
        (void)tty_.receive(data, size);
    }
    void writable() noexcept override { tty_.output_possible(); }
    [[nodiscard]] Tty& terminal() noexcept { return tty_; }

private:
    ConsoleDevice& device_;
    Tty tty_;
};

Tty* first_console{};
std::uint32_t next_hvc{};

/// Opens another terminal than the node's own and then behaves like it.
Status open_as(File& file, Tty* terminal) noexcept {
    if (terminal == nullptr)
        return Errno::nxio;
    file.ops = &tty_ops();
    file.data = terminal;
    return terminal->open(file);
}

class ConsoleAliasOps final : public FileOps {
public:
    Status open(File& file) noexcept override {
        file.flags |=
            open_flag::noctty; // /dev/console never becomes the controlling terminal by itself
        return open_as(file, first_console);
    }
};
class OwnTerminalOps final : public FileOps {
public:
    Status open(File& file) noexcept override {
        return open_as(file, Tty::of_session(current_job().session));
    }
};

void register_aliases() {
    static ConsoleAliasOps console;
    static OwnTerminalOps own;
    (void)register_char_device("tty", tty_major, 0, own, nullptr, 0666);
    (void)register_char_device("console", tty_major, 1, console, nullptr, 0600);
}
CERO_INITCALL(fs, register_aliases);

} // namespace

} // namespace tty

Status register_console(ConsoleDevice& device, const char* name) noexcept {
    const std::uint32_t minor = tty::next_hvc++;
    auto* console = new (std::nothrow) tty::ConsoleTty{device, make_device(tty::hvc_major, minor)};
    if (console == nullptr)
        return Errno::nomem;
    if (tty::first_console == nullptr)
        tty::first_console = &console->terminal();
    return register_char_device(name, tty::hvc_major, minor, tty::tty_ops(), &console->terminal(),
                                0600);
}

} // namespace kernel
