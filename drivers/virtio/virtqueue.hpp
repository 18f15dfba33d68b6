// SPDX-License-Identifier: BSD-2-Clause
// VirtQueue: the driver's side of a virtio 1.0 split ring [Virtual I/O Device (VIRTIO) 1.1, "Split
// Virtqueues"].
//
// Works on three pieces of memory given to it, so a test can stand in for the device. Not locked.
// Everything read from the used ring is checked: a broken device costs its own requests, nothing
// more.
#pragma once

#include <cstddef>
#include <cstdint>

namespace drivers::virtio {

/// A run of machine memory.
struct Buffer {
    std::uint64_t machine;
    std::uint32_t length;
};

struct Descriptor {
    std::uint64_t address;
    std::uint32_t length;
    std::uint16_t flags;
    std::uint16_t next;
};
static_assert(sizeof(Descriptor) == 16);
inline constexpr std::uint16_t descriptor_next = 1;
inline constexpr std::uint16_t descriptor_write = 2; ///< the device writes
inline constexpr std::uint16_t descriptor_indirect = 4;

class VirtQueue {
public:
    static constexpr unsigned max_size = 256;
    static constexpr std::size_t descriptor_bytes = max_size * sizeof(Descriptor);
    static constexpr std::size_t available_bytes = 6 + 2 * max_size;
    static constexpr std::size_t used_bytes = 6 + 8 * max_size;

    /// Takes over three zeroed areas for a ring of `size` (a power of two, at most max_size).
    void initialise(void* descriptors, void* available, void* used, unsigned size,
                    bool event_index) noexcept;
    [[nodiscard]] unsigned size() const noexcept { return size_; }
    [[nodiscard]] unsigned free_descriptors() const noexcept { return free_count_; }
    [[nodiscard]] unsigned in_flight() const noexcept { return in_flight_; }

    /// Appends a chain: first what the device reads, then what it writes. False: no room.
    /// `token` (not null) comes back from take().
    [[nodiscard]] bool add(const Buffer* out, unsigned out_count, const Buffer* in,
                           unsigned in_count, void* token) noexcept;
    /// Appends one descriptor that points to a table of `count` descriptors elsewhere.
    [[nodiscard]] bool add_indirect(std::uint64_t table, unsigned count, void* token) noexcept;
    /// Fills a table for add_indirect(); returns the number of descriptors.
    static unsigned fill_table(Descriptor* table, const Buffer* out, unsigned out_count,
                               const Buffer* in, unsigned in_count) noexcept;

    /// Shows what was added to the device; true when it wants to be notified.
    [[nodiscard]] bool publish() noexcept;
    /// Takes one finished chain: its token and the bytes that the device wrote. Null: none.
    [[nodiscard]] void* take(std::uint32_t& written) noexcept;
    /// Asks for no interrupts (a hint) / for one at the next used chain; true: there are some
    /// already.
    void disable_interrupts() noexcept;
    [[nodiscard]] bool enable_interrupts() noexcept;
    /// Returns the tokens of all chains still with the device, one per call; for teardown after
    /// reset.
    [[nodiscard]] void* abandon() noexcept;

private:
    static constexpr std::uint16_t end_of_free = 0xffff;
    struct Head {
        void* token;
        std::uint16_t count; ///< descriptors in the chain
    };
    std::uint16_t take_descriptor() noexcept;
    void free_chain(std::uint16_t head) noexcept;
    void offer(std::uint16_t head, unsigned count, void* token) noexcept;
    [[nodiscard]] std::uint16_t* available_ring() const noexcept { return available_ + 2; }
    [[nodiscard]] std::uint16_t& used_event() const noexcept { return available_[2 + size_]; }
    [[nodiscard]] const std::uint16_t& available_event() const noexcept;

    Descriptor* descriptors_{};
    std::uint16_t* available_{}; ///< flags, index, ring[size], used_event
    std::uint16_t* used_{};      ///< flags, index, {u32 id, u32 length}[size], available_event
    unsigned size_{};
    unsigned free_count_{};
    unsigned in_flight_{};
    std::uint16_t first_free_{end_of_free};
    std::uint16_t available_index_{};
    std::uint16_t published_{};
    std::uint16_t used_index_{};
    bool event_index_{};
    Head heads_[max_size]{};
    std::uint16_t next_[max_size]{}; ///< our own copy of the chains: the device may write the table
};

} // namespace drivers::virtio
