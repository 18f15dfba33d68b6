// SPDX-License-Identifier: BSD-2-Clause
// Console front end: a guest's hvc0 on the ring that the domain builder left. The other end is
// dom0's console service.
//
// The kernel log writes to the same ring directly (it must work in a panic); both do so with events
// masked, so on one vCPU they never interleave.
#include "console_ring.hpp"

#include <kernel/boot.hpp>
#include <kernel/event.hpp>
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>
#include <kernel/sync.hpp>
#include <kernel/tty.hpp>

namespace drivers {

namespace {

class ConsoleFront final : public kernel::ConsoleDevice {
public:
    void attach(cero_console_page& page, kernel::event::Port port) noexcept {
        ring_ = ConsoleRing{page};
        port_ = port;
    }
    std::size_t write(const char* data, std::size_t size) noexcept override {
        kernel::SpinGuard guard{lock_};
        const std::size_t count = ring_.write(data, size);
        blocked_ = count < size;
        kernel::event::notify(port_);
        return count;
    }
    void set_receiver(kernel::ConsoleReceiver& receiver) noexcept override {
        receiver_ = &receiver;
        kernel::event::set_handler(port_, arrived, this);
        kernel::EventGuard masked;
        arrived(port_, this); // what was typed before
    }

private:
    /// Input, or room for output, or both.
    static void arrived(kernel::event::Port port, void* context) {
        auto& self = *static_cast<ConsoleFront*>(context);
        char text[128];
        bool took = false;
        while (const std::size_t count = self.ring_.read(text, sizeof text)) {
            took = true;
            self.receiver_->receive(text, count);
        }
        if (took)
            kernel::event::notify(port);
        if (self.blocked_) {
            self.blocked_ = false;
            self.receiver_->writable();
        }
    }
    kernel::Spinlock lock_;
    ConsoleRing ring_;
    kernel::event::Port port_{};
    kernel::ConsoleReceiver* receiver_{};
    bool blocked_{};
};
constinit ConsoleFront console;

void start_console() {
    if (kernel::is_initial_domain())
        return;
    const kernel::BootRing boot = kernel::boot_console_ring();
    if (boot.port == 0)
        return;
    console.attach(*static_cast<cero_console_page*>(kernel::boot_ring_page(boot)), boot.port);
    if (!kernel::register_console(console, "hvc0"))
        kernel::printk(kernel::Level::error, "console: cannot make hvc0\n");
}
CERO_INITCALL(device, start_console);

} // namespace

} // namespace drivers
