// SPDX-License-Identifier: BSD-2-Clause
// FrontRing and BackRing: the two ends of a shared request/response ring, for every split driver.
//
//   page 0:  req_prod | req_event | rsp_prod | rsp_event | 48 bytes private | slot 0 | slot 1 | ...
//
// Indexes run freely modulo 2^32. The front produces requests and consumes responses, the back the
// reverse. Each end keeps private copies of what it wrote and never believes them again from shared
// memory. A datum of the peer is copied out of its slot exactly once; callers only ever see the
// copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace drivers {

/// The shared header of every ring.
struct RingHeader {
    std::uint32_t req_prod;
    std::uint32_t req_event;
    std::uint32_t rsp_prod;
    std::uint32_t rsp_event;
    std::uint8_t private_area[48];
};
static_assert(sizeof(RingHeader) == 64);

namespace ring_detail {

[[nodiscard]] inline std::uint32_t load_acquire(const std::uint32_t& word) noexcept {
    return __atomic_load_n(&word, __ATOMIC_ACQUIRE);
}
inline void store_release(std::uint32_t& word, std::uint32_t value) noexcept {
    __atomic_store_n(&word, value, __ATOMIC_RELEASE);
}
/// Orders our index store before the load of the peer's event threshold, and the reverse at the
/// peer.
inline void full_fence() noexcept {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/// Whether the peer asked to be told when its index passed `event`, in the step from `before` to
/// `after`.
[[nodiscard]] constexpr bool wants_notification(std::uint32_t event, std::uint32_t before,
                                                std::uint32_t after) noexcept {
    return after - event < after - before;
}

/// Slots in a ring of `bytes`: the largest power of two that fits behind the header.
[[nodiscard]] constexpr std::uint32_t slot_count(std::size_t bytes, std::size_t slot) noexcept {
    std::uint32_t count = 1;
    while ((std::size_t{count} << 1) * slot <= bytes - sizeof(RingHeader))
        count <<= 1;
    return count;
}

template <typename Request, typename Response>
struct RingShape {
    static_assert(std::is_trivially_copyable_v<Request> && std::is_trivially_copyable_v<Response>);
    static constexpr std::size_t slot_size = sizeof(Request) > sizeof(Response) ? sizeof(Request)
                                                                                : sizeof(Response);
};

} // namespace ring_detail

/// The requesting end. The owner serialises all calls.
template <typename Request, typename Response>
class FrontRing {
    using Shape = ring_detail::RingShape<Request, Response>;

public:
    static constexpr std::size_t slot_size = Shape::slot_size;

    FrontRing() noexcept = default;
    /// Takes over zeroed memory of `bytes` (virtually contiguous pages) and initialises the header.
    void initialise(void* memory, std::size_t bytes) noexcept {
        shared_ = static_cast<RingHeader*>(memory);
        slots_ = static_cast<std::byte*>(memory) + sizeof(RingHeader);
        size_ = ring_detail::slot_count(bytes, slot_size);
        shared_->req_prod = shared_->rsp_prod = 0;
        shared_->req_event = shared_->rsp_event = 1;
        req_prod_ = pushed_ = rsp_cons_ = 0;
        broken_ = false;
    }

    [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
    [[nodiscard]] std::uint32_t free_slots() const noexcept {
        return size_ - (req_prod_ - rsp_cons_);
    }
    [[nodiscard]] std::uint32_t next_index() const noexcept { return req_prod_; }
    [[nodiscard]] std::uint32_t unanswered() const noexcept { return req_prod_ - rsp_cons_; }
    [[nodiscard]] bool is_broken() const noexcept { return broken_; }
    [[nodiscard]] std::uint32_t response_index() const noexcept { return rsp_cons_; }

    /// Appends a request. Precondition: free_slots() > 0.
    template <typename Item>
    requires(std::is_trivially_copyable_v<Item> &&
             sizeof(Item) <= slot_size) void put(const Item& request) noexcept {
        std::memcpy(slot(req_prod_), &request, sizeof(Item));
        ++req_prod_;
    }
    /// Shows the appended requests to the peer; true when it wants an event.
    [[nodiscard]] bool push() noexcept {
        const std::uint32_t before = pushed_;
        if (before == req_prod_)
            return false;
        pushed_ = req_prod_;
        ring_detail::store_release(shared_->req_prod, req_prod_);
        ring_detail::full_fence();
        return ring_detail::wants_notification(ring_detail::load_acquire(shared_->req_event),
                                               before, req_prod_);
    }
    /// Copies the next response out. False when there is none, or when the peer's index is
    /// impossible (is_broken()).
    template <typename Item>
    requires(std::is_trivially_copyable_v<Item> && sizeof(Item) <= slot_size)
        [[nodiscard]] bool take(Item& response) noexcept {
        const std::uint32_t produced = ring_detail::load_acquire(shared_->rsp_prod);
        if (produced == rsp_cons_)
            return false;
        if (produced - rsp_cons_ > pushed_ - rsp_cons_) {
            broken_ = true;
            return false;
        }
        std::memcpy(&response, slot(rsp_cons_), sizeof(Item));
        ++rsp_cons_;
        return true;
    }
    /// Asks for an event when `threshold` more responses are there; true if they are already.
    [[nodiscard]] bool arm(std::uint32_t threshold = 1) noexcept {
        ring_detail::store_release(shared_->rsp_event, rsp_cons_ + threshold);
        ring_detail::full_fence();
        return !broken_ && ring_detail::load_acquire(shared_->rsp_prod) - rsp_cons_ >= threshold;
    }

private:
    [[nodiscard]] std::byte* slot(std::uint32_t index) const noexcept {
        return slots_ + std::size_t{index & (size_ - 1)} * slot_size;
    }
    RingHeader* shared_{};
    std::byte* slots_{};
    std::uint32_t size_{};
    std::uint32_t req_prod_{};
    std::uint32_t pushed_{};
    std::uint32_t rsp_cons_{};
    bool broken_{};
};

/// The serving end, over memory that a hostile front writes. The owner serialises all calls.
template <typename Request, typename Response>
class BackRing {
    using Shape = ring_detail::RingShape<Request, Response>;

public:
    static constexpr std::size_t slot_size = Shape::slot_size;

    BackRing() noexcept = default;
    /// Attaches to a ring that the front initialised; starts at the responses published so far.
    void attach(void* memory, std::size_t bytes) noexcept {
        shared_ = static_cast<RingHeader*>(memory);
        slots_ = static_cast<std::byte*>(memory) + sizeof(RingHeader);
        size_ = ring_detail::slot_count(bytes, slot_size);
        req_cons_ = rsp_prod_ = pushed_ = ring_detail::load_acquire(shared_->rsp_prod);
        broken_ = false;
    }

    [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
    /// The front's index is impossible: the connection must be given up.
    [[nodiscard]] bool is_broken() const noexcept { return broken_; }
    /// Requests visible and not taken.
    [[nodiscard]] std::uint32_t pending() noexcept {
        const std::uint32_t count = ring_detail::load_acquire(shared_->req_prod) - req_cons_;
        if (count > size_ - (req_cons_ - rsp_prod_)) {
            broken_ = true;
            return 0;
        }
        return count;
    }
    /// Index of the next request to be taken.
    [[nodiscard]] std::uint32_t request_index() const noexcept { return req_cons_; }
    /// Index of the slot that the next response goes to.
    [[nodiscard]] std::uint32_t response_index() const noexcept { return rsp_prod_; }

    /// Copies the next request out. Precondition: pending() > 0 was seen since the last take.
    template <typename Item>
    requires(std::is_trivially_copyable_v<Item> &&
             sizeof(Item) <= slot_size) void take(Item& request) noexcept {
        copy_slot(&request, sizeof(Item));
        ++req_cons_;
    }
    /// Appends a response. Precondition: fewer responses than requests taken.
    template <typename Item>
    requires(std::is_trivially_copyable_v<Item> &&
             sizeof(Item) <= slot_size) void put(const Item& response) noexcept {
        std::memcpy(slot(rsp_prod_), &response, sizeof(Item));
        ++rsp_prod_;
    }
    /// Shows the appended responses to the front; true when it wants an event.
    [[nodiscard]] bool push() noexcept {
        const std::uint32_t before = pushed_;
        if (before == rsp_prod_)
            return false;
        pushed_ = rsp_prod_;
        ring_detail::store_release(shared_->rsp_prod, rsp_prod_);
        ring_detail::full_fence();
        return ring_detail::wants_notification(ring_detail::load_acquire(shared_->rsp_event),
                                               before, rsp_prod_);
    }
    /// Asks for an event with the `threshold`-th further request; true if it is already there.
    [[nodiscard]] bool arm(std::uint32_t threshold = 1) noexcept {
        ring_detail::store_release(shared_->req_event, req_cons_ + threshold);
        ring_detail::full_fence();
        return pending() >= threshold;
    }

private:
    [[nodiscard]] std::byte* slot(std::uint32_t index) const noexcept {
        return slots_ + std::size_t{index & (size_ - 1)} * slot_size;
    }
    void copy_slot(void* to, std::size_t size) noexcept {
        std::memcpy(to, slot(req_cons_), size);
        // The copy escapes here, so the compiler cannot fetch from the slot again: the front may
        // change it.
        asm volatile("" : : "r"(to) : "memory");
    }
    RingHeader* shared_{};
    std::byte* slots_{};
    std::uint32_t size_{};
    std::uint32_t req_cons_{};
    std::uint32_t rsp_prod_{};
    std::uint32_t pushed_{};
    bool broken_{};
};

} // namespace drivers
