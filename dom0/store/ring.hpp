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
        : page_{page}, connection_{connection}, consumed_{page->req_cons}, published_{
                                                                               page->req_cons} {}
    /// Goes on where another process stopped; see SavedClient.
    RingTransport(cero_xenstore_page* page, Connection& connection, std::uint32_t consumed)
        : page_{page}, connection_{connection}, consumed_{consumed}, published_{~consumed} {}

    /// Takes requests in and has them served; the other side does not see it yet. Returns whether
    /// there were any.
    bool take_requests(Core& core);
    /// Shows the other side how much was taken, and puts output into the ring as far as it has
    /// room. Returns true when the other side must be notified.
    bool publish();
    [[nodiscard]] bool is_broken() const noexcept { return broken_; }
    [[nodiscard]] std::uint32_t consumed() const noexcept { return consumed_; }
    [[nodiscard]] std::uint32_t produced() const noexcept { return page_->rsp_prod; }

private:
    bool write_output();

    cero_xenstore_page* page_;
    Connection& connection_;
    std::uint32_t consumed_;
    std::uint32_t published_; ///< what the page says of it, unless the other side has meddled
    bool broken_{false};
};

} // namespace cero::store
