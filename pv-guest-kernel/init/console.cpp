// SPDX-License-Identifier: BSD-2-Clause
// Raw console output: console_io in the first domain, the console ring in others.
#include "arch/x86_64/hypercalls.hpp"
#include "init/start.hpp"

#include <kernel/boot.hpp>
#include <kernel/event.hpp>
#include <kernel/sync.hpp>

#include <cero/abi/io/console.h>

namespace kernel {
namespace {

/// Writes what fits; waits for the backend only a bounded time, for it may be gone.
void ring_write(cero_console_page& page, const BootRing& ring, const char* text,
                std::size_t size) noexcept {
    unsigned patience = 200;
    while (size != 0) {
        const std::uint32_t consumed = __atomic_load_n(&page.out_cons, __ATOMIC_ACQUIRE);
        std::uint32_t produced = page.out_prod;
        while (size != 0 && produced - consumed < sizeof page.out) {
            page.out[produced++ % sizeof page.out] = *text++;
            --size;
        }
        __atomic_store_n(&page.out_prod, produced, __ATOMIC_RELEASE);
        cero_evtchn_send send{ring.port};
        static_cast<void>(hyper::event_channel_op(CERO_EVTCHNOP_send, &send));
        if (size == 0 || patience-- == 0)
            return;
        static_cast<void>(hyper::sched_op(CERO_SCHEDOP_yield, nullptr));
    }
}

} // namespace

void console_write(const char* text, std::size_t size) noexcept {
    EventGuard guard;
    if (is_initial_domain()) {
        static_cast<void>(hyper::console_io(CERO_CONSOLEIO_write, size, text));
        return;
    }
    const BootRing ring = boot_console_ring();
    if (ring.port != 0)
        ring_write(*static_cast<cero_console_page*>(boot_ring_page(ring)), ring, text, size);
}

} // namespace kernel
