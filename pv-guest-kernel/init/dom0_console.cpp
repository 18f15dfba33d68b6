// SPDX-License-Identifier: BSD-2-Clause
// The hypervisor's console (the machine's UART) as a terminal of the first domain.
#include "arch/x86_64/hypercalls.hpp"

#include <kernel/boot.hpp>
#include <kernel/event.hpp>
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>
#include <kernel/tty.hpp>

namespace kernel {
namespace {

class HypervisorConsole final : public ConsoleDevice {
public:
    std::size_t write(const char* data, std::size_t size) noexcept override {
        console_write(data, size);
        return size;
    }
    void set_receiver(ConsoleReceiver& receiver) noexcept override { receiver_ = &receiver; }

    void drain() noexcept {
        char data[64];
        for (;;) {
            const long size = hyper::console_io(CERO_CONSOLEIO_read, sizeof data, data);
            if (size <= 0)
                return;
            if (receiver_ != nullptr)
                receiver_->receive(data, static_cast<std::size_t>(size));
        }
    }

private:
    ConsoleReceiver* receiver_{};
};

HypervisorConsole console;

void input_arrived(event::Port, void*) {
    console.drain();
}

void start_console() {
    if (!is_initial_domain())
        return;
    const auto port = event::bind_virq(CERO_VIRQ_CONSOLE);
    if (!port) {
        printk(Level::error, "no console interrupt: error %d", static_cast<int>(port.error()));
        return;
    }
    if (const Status registered = register_console(console, "hvc0"); !registered)
        printk(Level::error, "no console: error %d", static_cast<int>(registered.error()));
    event::set_handler(*port, input_arrived, nullptr);
    console.drain();
}
CERO_INITCALL(fs, start_console);

} // namespace
} // namespace kernel
