// SPDX-License-Identifier: BSD-2-Clause
// Console terminals: /dev/hvcN on console backends, /dev/console for the first, /dev/tty for one's own.
#include "tty.hpp"
#include <kernel/boot.hpp>
#include <kernel/device.hpp>
#include <kernel/event.hpp>
#include <kernel/hypercall.hpp>
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>
#include <kernel/process_api.hpp>

#include <cero/abi/hypercall.h>
#include <cero/abi/event.h>

#include <new>

namespace kernel {
namespace tty {

namespace {

constexpr std::uint32_t hvc_major = 229;
constexpr std::uint32_t tty_major = 5;

/// Joins a console backend and a terminal. Lives for ever.
class ConsoleTty final : public ConsoleReceiver, public TtyDriver {
public:
    ConsoleTty(ConsoleDevice& device, DeviceNumber number) noexcept : device_{device}, tty_{*this, number} {
        device_.set_receiver(*this);
    }
    std::size_t write(const char* data, std::size_t size) noexcept override { return device_.write(data, size); }
    void receive(const char* data, std::size_t size) noexcept override { (void)tty_.receive(data, size); }
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
        file.flags |= open_flag::noctty; // /dev/console never becomes the controlling terminal by itself
        return open_as(file, first_console);
    }
};
class OwnTerminalOps final : public FileOps {
public:
    Status open(File& file) noexcept override { return open_as(file, Tty::of_session(current_job().session)); }
};

/// The hypervisor's console, for the first domain. A guest's console ring has a driver of its own.
class HypervisorConsole final : public ConsoleDevice {
public:
    std::size_t write(const char* data, std::size_t size) noexcept override {
        console_write(data, size);
        return size;
    }
    void set_receiver(ConsoleReceiver& receiver) noexcept override {
        receiver_ = &receiver;
        if (!is_initial_domain())
            return;
        auto port = event::bind_virq(CERO_VIRQ_CONSOLE);
        if (!port) {
            printk(Level::warning, "tty: no console input: error %d\n", static_cast<int>(port.error()));
            return;
        }
        event::set_handler(*port, arrived, this);
    }

private:
    static void arrived(event::Port, void* context) {
        auto& self = *static_cast<HypervisorConsole*>(context);
        char text[64];
        for (;;) {
            const long count = hypercall(CERO_HYPERCALL_console_io, CERO_CONSOLEIO_read, sizeof(text),
                                         by_address(text));
            if (count <= 0)
                return;
            self.receiver_->receive(text, static_cast<std::size_t>(count));
        }
    }
    ConsoleReceiver* receiver_{};
};

void register_aliases() {
    static ConsoleAliasOps console;
    static OwnTerminalOps own;
    (void)register_char_device("tty", tty_major, 0, own, nullptr, 0666);
    (void)register_char_device("console", tty_major, 1, console, nullptr, 0600);
}
CERO_INITCALL(fs, register_aliases);

void register_hypervisor_console() {
    static HypervisorConsole console;
    if (first_console == nullptr)
        if (auto status = register_console(console, "hvc0"); !status)
            printk(Level::error, "tty: no console terminal: error %d\n", static_cast<int>(status.error()));
}
CERO_INITCALL(late, register_hypervisor_console);

} // namespace

} // namespace tty

Status register_console(ConsoleDevice& device, const char* name) noexcept {
    const std::uint32_t minor = tty::next_hvc++;
    auto* console = new (std::nothrow) tty::ConsoleTty{device, make_device(tty::hvc_major, minor)};
    if (console == nullptr)
        return Errno::nomem;
    if (tty::first_console == nullptr)
        tty::first_console = &console->terminal();
    return register_char_device(name, tty::hvc_major, minor, tty::tty_ops(), &console->terminal(), 0600);
}

} // namespace kernel
