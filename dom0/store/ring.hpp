// SPDX-License-Identifier: BSD-2-Clause
// RingTransport: a connection's bytes through a ring page that a hostile domain shares with us.
#pragma once

#include "store/connection.hpp"
#include "store/core.hpp"

#include <cero/abi/io/store.h>

namespace cero::store {

/// Moves bytes between one ring page and a Connection. Every index is read once and checked; a ring
/// whose indexes make no sense is left alone for good.
class RingTransport {
public:
    RingTransport(cero_xenstore_page* page, Connection& connection)
        : page_{page}, connection_{connection} {}

    /// Takes requests in, has them served, and puts output into the ring as far as it has room.
    /// Returns true when the other side must be notified.
    bool pump(Core& core);
    [[nodiscard]] bool is_broken() const noexcept { return broken_; }
    /// True when pump() stopped for fairness: it must be called again without waiting for an event.
    [[nodiscard]] bool wants_more() const noexcept { return wants_more_; }

private:
    bool read_requests(Core& core);
    bool write_output();

    cero_xenstore_page* page_;
    Connection& connection_;
    bool broken_{false};
    bool wants_more_{false};
};

} // namespace cero::store
