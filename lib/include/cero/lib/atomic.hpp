// SPDX-License-Identifier: BSD-2-Clause
// Atomic: a word shared between CPUs. No implicit conversion; every access names its memory order.
#pragma once

#include <type_traits>

namespace cero {

enum class Order : int {
    relaxed = __ATOMIC_RELAXED,
    acquire = __ATOMIC_ACQUIRE,
    release = __ATOMIC_RELEASE,
    acq_rel = __ATOMIC_ACQ_REL,
    seq_cst = __ATOMIC_SEQ_CST,
};

template <typename T>
requires std::is_trivially_copyable_v<T>
class Atomic {
public:
    constexpr Atomic() noexcept = default;
    constexpr explicit Atomic(T value) noexcept : value_{value} {}
    Atomic(const Atomic&) = delete;
    Atomic& operator=(const Atomic&) = delete;

    [[nodiscard]] T load(Order order) const noexcept {
        T value; // the generic builtins: clang has no others for enumerations
        __atomic_load(&value_, &value, static_cast<int>(order));
        return value;
    }
    void store(T value, Order order) noexcept {
        __atomic_store(&value_, &value, static_cast<int>(order));
    }
    T exchange(T value, Order order) noexcept {
        T before;
        __atomic_exchange(&value_, &value, &before, static_cast<int>(order));
        return before;
    }
    /// Strong compare-and-exchange; on failure `expected` receives the current value.
    [[nodiscard]] bool compare_exchange(T& expected, T desired, Order order) noexcept {
        return __atomic_compare_exchange(&value_, &expected, &desired, false,
                                         static_cast<int>(order), __ATOMIC_RELAXED);
    }
    T fetch_add(T n, Order order) noexcept {
        return __atomic_fetch_add(&value_, n, static_cast<int>(order));
    }
    T fetch_sub(T n, Order order) noexcept {
        return __atomic_fetch_sub(&value_, n, static_cast<int>(order));
    }
    T fetch_or(T bits, Order order) noexcept {
        return __atomic_fetch_or(&value_, bits, static_cast<int>(order));
    }
    T fetch_and(T bits, Order order) noexcept {
        return __atomic_fetch_and(&value_, bits, static_cast<int>(order));
    }

private:
    T value_{};
};

} // namespace cero
