// SPDX-License-Identifier: BSD-2-Clause
// FrameWord: the 64 bits that describe one machine frame, and the constexpr words for reading them.
//
//  63      54 53        52     51     50      49        48  46 45       22 21            0
// +----------+---------+------+------+-------+---------+------+-----------+--------------+
// |owner slot|allocated|locked|pinned|partial|validated| type | refs (24) |type refs (22)|
// +----------+---------+------+------+-------+---------+------+-----------+--------------+
// A partial frame keeps its progress index in the type-refs field. A free frame (owner slot_free)
// keeps order, cleanliness and the links of its buddy list in the lower 54 bits.
#pragma once

#include <core/types.hpp>

namespace cero {

enum class FrameType : std::uint8_t {
    none = 0,
    l1 = 1,
    l2 = 2,
    l3 = 3,
    l4 = 4,
    descriptors = 5, ///< GDT or LDT page
    shared = 6,      ///< hypervisor page that one domain may map (shared_info, grant table)
    writable = 7,
};

constexpr bool is_table(FrameType type) noexcept { return type >= FrameType::l1 && type <= FrameType::l4; }
constexpr FrameType one_below(FrameType level) noexcept {
    return static_cast<FrameType>(static_cast<std::uint8_t>(level) - 1);
}

/// A value: what a frame's word said at one moment. Changed by building a new value and exchanging.
class FrameWord {
public:
    static constexpr unsigned type_refs_bits = 22;
    static constexpr unsigned refs_bits = 24;
    static constexpr std::uint64_t one_type_ref = 1;
    static constexpr std::uint64_t one_ref = 1ull << type_refs_bits;
    static constexpr unsigned type_shift = type_refs_bits + refs_bits;
    static constexpr std::uint64_t type_refs_mask = one_ref - 1;
    static constexpr std::uint64_t refs_mask = ((1ull << refs_bits) - 1) << type_refs_bits;
    static constexpr std::uint64_t type_mask = 7ull << type_shift;
    static constexpr std::uint64_t validated = 1ull << 49;
    static constexpr std::uint64_t partial = 1ull << 50;
    static constexpr std::uint64_t pinned = 1ull << 51;
    static constexpr std::uint64_t locked = 1ull << 52;
    static constexpr std::uint64_t allocated = 1ull << 53;
    static constexpr unsigned owner_shift = 54;
    /// The top bit of each count: a frame that has one of them set takes no further references, so
    /// that concurrent additions can never carry into the neighbouring field.
    static constexpr std::uint64_t full_mask = (1ull << (type_refs_bits - 1)) | (1ull << (type_shift - 1));

    constexpr FrameWord() noexcept = default;
    constexpr explicit FrameWord(std::uint64_t raw) noexcept : raw_{raw} {}

    /// A frame just given to `owner`: allocated, with the one reference that the allocation holds.
    static constexpr FrameWord owned_by(DomainSlot owner) noexcept {
        return FrameWord{owner_bits(owner) | allocated | one_ref};
    }
    static constexpr std::uint64_t owner_bits(DomainSlot owner) noexcept {
        return std::uint64_t{owner.raw()} << owner_shift;
    }
    static constexpr std::uint64_t type_bits(FrameType type) noexcept {
        return std::uint64_t{static_cast<std::uint8_t>(type)} << type_shift;
    }

    [[nodiscard]] constexpr std::uint64_t raw() const noexcept { return raw_; }
    [[nodiscard]] constexpr DomainSlot owner() const noexcept {
        return DomainSlot{static_cast<std::uint16_t>(raw_ >> owner_shift)};
    }
    [[nodiscard]] constexpr FrameType type() const noexcept { return static_cast<FrameType>((raw_ >> type_shift) & 7); }
    [[nodiscard]] constexpr std::uint32_t refs() const noexcept {
        return static_cast<std::uint32_t>((raw_ & refs_mask) >> type_refs_bits);
    }
    /// Type references held. A partial frame is owned by nobody: it has none.
    [[nodiscard]] constexpr std::uint32_t type_refs() const noexcept {
        return is(partial) ? 0 : static_cast<std::uint32_t>(raw_ & type_refs_mask);
    }
    /// Of a partial frame: entries [0, progress) hold references.
    [[nodiscard]] constexpr unsigned progress() const noexcept { return static_cast<unsigned>(raw_ & type_refs_mask); }
    [[nodiscard]] constexpr bool is(std::uint64_t flag) const noexcept { return (raw_ & flag) != 0; }
    [[nodiscard]] constexpr bool is_full() const noexcept { return (raw_ & full_mask) != 0; }
    [[nodiscard]] constexpr bool is_owned_by(DomainSlot slot) const noexcept {
        return (raw_ >> owner_shift) == slot.raw();
    }
    /// Whether new references may be taken at all: an allocation, or a page shared by the
    /// hypervisor.
    [[nodiscard]] constexpr bool may_be_referenced() const noexcept {
        return is(allocated) || type() == FrameType::shared;
    }
    /// What the bits above the counts are in an ordinary writable frame of `owner`.
    static constexpr std::uint64_t writable_key(DomainSlot owner) noexcept {
        return (owner_bits(owner) | allocated | type_bits(FrameType::writable)) >> type_shift;
    }
    /// What the bits from `allocated` up are in an allocated frame of `owner`.
    static constexpr unsigned allocated_shift = 53;
    static constexpr std::uint64_t readable_key(DomainSlot owner) noexcept {
        return (owner_bits(owner) | allocated) >> allocated_shift;
    }
    [[nodiscard]] constexpr FrameWord with(std::uint64_t bits) const noexcept { return FrameWord{raw_ | bits}; }
    [[nodiscard]] constexpr FrameWord without(std::uint64_t bits) const noexcept { return FrameWord{raw_ & ~bits}; }
    [[nodiscard]] constexpr FrameWord with_type(FrameType type) const noexcept {
        return FrameWord{(raw_ & ~type_mask) | type_bits(type)};
    }
    [[nodiscard]] constexpr FrameWord with_type_field(std::uint64_t value) const noexcept {
        return FrameWord{(raw_ & ~type_refs_mask) | value};
    }
    /// Adds or removes references; the caller knows that no count leaves its field.
    [[nodiscard]] constexpr FrameWord plus(std::uint64_t amount) const noexcept { return FrameWord{raw_ + amount}; }
    [[nodiscard]] constexpr FrameWord minus(std::uint64_t amount) const noexcept { return FrameWord{raw_ - amount}; }
    constexpr bool operator==(const FrameWord&) const noexcept = default;

private:
    std::uint64_t raw_{};
};

} // namespace cero
