// SPDX-License-Identifier: BSD-2-Clause
// XenStore's byte rings in a shared page.
#include "store/ring.hpp"

#include <algorithm>
#include <cstring>

namespace cero::store {

namespace {

constexpr std::uint32_t ring_size = CERO_XENSTORE_RING_SIZE;

std::uint32_t load(const std::uint32_t& word) noexcept {
    return __atomic_load_n(&word, __ATOMIC_ACQUIRE); // pairs with the guest's store after its data
}

void store(std::uint32_t& word, std::uint32_t value) noexcept {
    __atomic_store_n(&word, value, __ATOMIC_RELEASE); // data before the index that publishes it
}

} // namespace

bool RingTransport::take_requests(Core& core) {
    if (broken_)
        return false;
    bool took = core.serve(connection_); // what an earlier congestion left in the decoder
    while (!connection_.is_doomed() && !connection_.has_had_turn &&
           !core.is_congested(connection_)) {
        const std::uint32_t available = load(page_->req_prod) - consumed_;
        if (available > ring_size) {
            broken_ = true;
            break;
        }
        if (available == 0)
            break;
        const std::uint32_t at = consumed_ & (ring_size - 1);
        const std::size_t chunk = std::min<std::size_t>(
            {available, ring_size - at, std::max<std::size_t>(connection_.decoder.wanted(), 1)});
        char bytes[ring_size];
        std::memcpy(bytes, page_->req + at, chunk);
        consumed_ += static_cast<std::uint32_t>(chunk);
        connection_.decoder.feed({bytes, chunk});
        took = true;
        core.serve(connection_);
    }
    return took;
}

bool RingTransport::write_output() {
    bool wrote = false;
    while (connection_.has_output()) {
        const std::uint32_t produced = page_->rsp_prod;
        const std::uint32_t used = produced - load(page_->rsp_cons);
        if (used > ring_size) {
            broken_ = true;
            break;
        }
        if (used == ring_size)
            break;
        const std::uint32_t at = produced & (ring_size - 1);
        const std::string_view output = connection_.output();
        const std::size_t chunk =
            std::min<std::size_t>({output.size(), ring_size - used, ring_size - at});
        std::memcpy(page_->rsp + at, output.data(), chunk);
        store(page_->rsp_prod, produced + static_cast<std::uint32_t>(chunk));
        connection_.consume_output(chunk);
        wrote = true;
    }
    return wrote;
}

bool RingTransport::publish() {
    if (broken_)
        return false;
    const bool took = published_ != consumed_;
    published_ = consumed_;
    if (took)
        store(page_->req_cons, consumed_);
    return write_output() || took;
}

} // namespace cero::store
