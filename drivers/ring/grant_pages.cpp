// SPDX-License-Identifier: BSD-2-Clause
// Mapping of a guest's shared rings.
#include "grant_pages.hpp"

#include <kernel/log.hpp>

namespace drivers {

kernel::Status MappedRing::map(kernel::DomainId domain, const kernel::grant::Ref* refs,
                               unsigned count) {
    if (count == 0 || count > max_pages)
        return kernel::Errno::inval;
    TRY(pages_.reserve(count));
    kernel::grant::MapRequest requests[max_pages]{};
    for (unsigned i = 0; i < count; ++i) {
        requests[i].domain = domain;
        requests[i].ref = refs[i];
        requests[i].address = pages_.page(i);
    }
    const kernel::Status mapped = kernel::grant::map(requests, count);
    bool good = mapped.has_value();
    for (unsigned i = 0; i < count; ++i) {
        const bool done = mapped.has_value() && requests[i].status == 0;
        handles_[i] = done ? requests[i].handle : kernel::grant::invalid_handle;
        good &= done;
    }
    count_ = count;
    if (!good) {
        unmap();
        return kernel::Errno::inval;
    }
    return {};
}

void MappedRing::unmap() noexcept {
    kernel::grant::UnmapRequest requests[max_pages]{};
    unsigned filled = 0;
    for (unsigned i = 0; i < count_; ++i)
        if (handles_[i] != kernel::grant::invalid_handle) {
            requests[filled].address = pages_.page(i);
            requests[filled++].handle = handles_[i];
        }
    if (filled != 0 && !kernel::grant::unmap(requests, filled))
        kernel::printk(kernel::Level::error, "grant: cannot unmap a ring\n");
    count_ = 0;
    pages_.release();
}

} // namespace drivers
