// SPDX-License-Identifier: BSD-2-Clause
// Console byte rings, guest side. Impossible indexes of the other side count as "no room" and
// "nothing there".
#include "console_ring.hpp"

#include <cstdint>

namespace drivers {

std::size_t ConsoleRing::write(const char* data, std::size_t size) noexcept {
    const std::uint32_t consumed = __atomic_load_n(&page_->out_cons, __ATOMIC_ACQUIRE);
    std::uint32_t produced = page_->out_prod;
    if (produced - consumed > sizeof page_->out)
        return 0;
    std::size_t count = 0;
    for (; count < size && produced - consumed < sizeof page_->out; ++count)
        page_->out[produced++ % sizeof page_->out] = data[count];
    __atomic_store_n(&page_->out_prod, produced, __ATOMIC_RELEASE);
    return count;
}

std::size_t ConsoleRing::read(char* data, std::size_t size) noexcept {
    const std::uint32_t produced = __atomic_load_n(&page_->in_prod, __ATOMIC_ACQUIRE);
    std::uint32_t consumed = page_->in_cons;
    if (produced - consumed > sizeof page_->in)
        return 0;
    std::size_t count = 0;
    for (; count < size && consumed != produced; ++count)
        data[count] = page_->in[consumed++ % sizeof page_->in];
    __atomic_store_n(&page_->in_cons, consumed, __ATOMIC_RELEASE);
    return count;
}

} // namespace drivers
