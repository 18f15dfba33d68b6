// SPDX-License-Identifier: BSD-2-Clause
// GuestPtr, GuestSpan: addresses in the caller's address space. They cannot be dereferenced: a
// datum is copied in once, checked, and the copy used.
#pragma once

#include <arch/api/uaccess.hpp>

namespace cero {

/// What may cross: plain data without padding bytes that could carry hypervisor memory out. (Unions
/// of the ABI have no unique representation; their users clear them first.)
template <typename T>
concept AbiData = std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T>;

template <AbiData T> class GuestPtr {
public:
    constexpr explicit GuestPtr(std::uint64_t address) noexcept : address_{address} {}
    constexpr explicit GuestPtr(GuestVirt address) noexcept : address_{address} {}
    [[nodiscard]] constexpr GuestVirt address() const noexcept { return address_; }
    [[nodiscard]] constexpr bool is_null() const noexcept { return address_.raw() == 0; }

    [[nodiscard]] Result<T> read() const noexcept {
        T value;
        if (!arch::copy_from_guest(&value, address_, sizeof(T))) [[unlikely]]
            return Errno::fault;
        return value;
    }
    [[nodiscard]] Status write(const T& value) const noexcept {
        return arch::copy_to_guest(address_, &value, sizeof(T)) ? Errno::ok : Errno::fault;
    }
    /// A member of the structure, by its offset.
    template <AbiData Field> [[nodiscard]] constexpr GuestPtr<Field> field(std::size_t offset) const noexcept {
        return GuestPtr<Field>{address_ + offset};
    }
    [[nodiscard]] constexpr GuestPtr at(std::uint64_t index) const noexcept {
        return GuestPtr{address_ + index * sizeof(T)};
    }

private:
    GuestVirt address_{};
};

/// `count` elements at an address.
template <AbiData T> class GuestSpan {
public:
    constexpr GuestSpan(GuestPtr<T> first, std::uint64_t count) noexcept : first_{first}, count_{count} {}
    [[nodiscard]] constexpr std::uint64_t size() const noexcept { return count_; }
    /// Precondition: index < size().
    [[nodiscard]] Result<T> read(std::uint64_t index) const noexcept { return first_.at(index).read(); }
    [[nodiscard]] Status write(std::uint64_t index, const T& value) const noexcept {
        return first_.at(index).write(value);
    }
    /// Copies `count` elements from `index` on; precondition: they lie inside.
    [[nodiscard]] Status read_many(std::uint64_t index, T* out, std::uint64_t count) const noexcept {
        return arch::copy_from_guest(out, first_.at(index).address(), count * sizeof(T)) ? Errno::ok : Errno::fault;
    }
    [[nodiscard]] Status write_many(std::uint64_t index, const T* in, std::uint64_t count) const noexcept {
        return arch::copy_to_guest(first_.at(index).address(), in, count * sizeof(T)) ? Errno::ok : Errno::fault;
    }

private:
    GuestPtr<T> first_{};
    std::uint64_t count_{};
};

} // namespace cero
