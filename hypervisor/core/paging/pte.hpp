// SPDX-License-Identifier: BSD-2-Clause
// Pte: one page-table entry as a value, and what the ABI allows in it at each level.
#pragma once

#include <core/frame/frame_word.hpp>

namespace cero {

class Pte {
public:
    static constexpr std::uint64_t present = 1ull << 0;
    static constexpr std::uint64_t write = 1ull << 1;
    static constexpr std::uint64_t user = 1ull << 2;
    static constexpr std::uint64_t write_through = 1ull << 3;
    static constexpr std::uint64_t cache_disable = 1ull << 4;
    static constexpr std::uint64_t accessed = 1ull << 5;
    static constexpr std::uint64_t dirty = 1ull << 6;
    static constexpr std::uint64_t large = 1ull << 7; ///< PAT in a level-1 entry
    static constexpr std::uint64_t pat = 1ull << 7;
    static constexpr std::uint64_t global = 1ull << 8;
    static constexpr std::uint64_t available = 7ull << 9;
    static constexpr std::uint64_t available_high = 0x7ffull << 52;
    static constexpr std::uint64_t no_execute = 1ull << 63;
    static constexpr std::uint64_t frame_mask = 0x000ffffffffff000ull;
    static constexpr std::uint64_t cache_bits = write_through | cache_disable | pat;

    constexpr Pte() noexcept = default;
    constexpr explicit Pte(std::uint64_t raw) noexcept : raw_{raw} {}
    static constexpr Pte of(MachineFrame frame, std::uint64_t flags) noexcept {
        return Pte{(frame.raw() << page_shift) | flags};
    }
    [[nodiscard]] constexpr std::uint64_t raw() const noexcept { return raw_; }
    [[nodiscard]] constexpr bool is_present() const noexcept { return (raw_ & present) != 0; }
    [[nodiscard]] constexpr bool is_writable() const noexcept { return (raw_ & write) != 0; }
    [[nodiscard]] constexpr MachineFrame frame() const noexcept {
        return MachineFrame{(raw_ & frame_mask) >> page_shift};
    }
    /// What a present level-1 entry holds on its frame, as an amount of FrameWord counts: a
    /// reference, and a writable one with it when it is writable.
    [[nodiscard]] constexpr std::uint64_t references() const noexcept {
        static_assert(FrameWord::one_type_ref == 1 && write == 2);
        return FrameWord::one_ref + ((raw_ >> 1) & 1);
    }
    constexpr bool operator==(const Pte&) const noexcept = default;

private:
    std::uint64_t raw_{};
};

inline constexpr unsigned entries_per_table = 512;
inline constexpr unsigned first_hypervisor_slot = 256;
inline constexpr unsigned hypervisor_slot_count = 16;
constexpr bool is_hypervisor_slot(unsigned index) noexcept {
    return index - first_hypervisor_slot < hypervisor_slot_count;
}
/// Index of `address` in the table of a level (1 to 4).
constexpr unsigned table_index(GuestVirt address, unsigned level) noexcept {
    return (address.raw() >> (page_shift + 9 * (level - 1))) & (entries_per_table - 1);
}

} // namespace cero
