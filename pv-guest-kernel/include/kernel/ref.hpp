// SPDX-License-Identifier: BSD-2-Clause
// RefCounted and Ref: intrusive reference counting for kernel objects that outlive their maker.
#pragma once

#include <cero/lib/atomic.hpp>

#include <cstdint>
#include <utility>

namespace kernel {

/// Base of counted objects. Born with one reference, which `adopt()` takes over.
class RefCounted {
public:
    RefCounted(const RefCounted&) = delete;
    RefCounted& operator=(const RefCounted&) = delete;

    void get() noexcept { references_.fetch_add(1, cero::Order::relaxed); }
    void put() noexcept {
        if (references_.fetch_sub(1, cero::Order::acq_rel) == 1)
            last_put();
    }
    [[nodiscard]] std::uint32_t references() const noexcept {
        return references_.load(cero::Order::relaxed);
    }

protected:
    RefCounted() noexcept = default;
    virtual ~RefCounted() = default;
    /// Runs when the count reaches zero. A cache overrides it and may keep the object.
    virtual void last_put() noexcept { delete this; }

private:
    cero::Atomic<std::uint32_t> references_{1};
};

/// Owns one reference. Move-only; another reference is an explicit clone().
template <typename T>
class Ref {
public:
    constexpr Ref() noexcept = default;
    constexpr Ref(std::nullptr_t) noexcept {} // NOLINT(google-explicit-constructor)
    Ref(Ref&& other) noexcept : object_{std::exchange(other.object_, nullptr)} {}
    template <typename U>
    requires std::is_convertible_v<U*, T*> Ref(Ref<U>&& other)
    noexcept : object_{other.into_raw()} {} // NOLINT(google-explicit-constructor)
    Ref(const Ref&) = delete;
    Ref& operator=(const Ref&) = delete;
    Ref& operator=(Ref&& other) noexcept {
        T* old = std::exchange(object_, std::exchange(other.object_, nullptr));
        if (old != nullptr)
            old->put();
        return *this;
    }
    ~Ref() {
        if (object_ != nullptr)
            object_->put();
    }

    /// Takes over a reference that the caller owns.
    [[nodiscard]] static Ref adopt(T* object) noexcept { return Ref{object}; }
    /// Takes a reference of its own.
    [[nodiscard]] static Ref share(T* object) noexcept {
        if (object != nullptr)
            object->get();
        return Ref{object};
    }
    [[nodiscard]] Ref clone() const noexcept { return share(object_); }
    /// Gives the reference up to the caller.
    [[nodiscard]] T* into_raw() noexcept { return std::exchange(object_, nullptr); }

    [[nodiscard]] T* get() const noexcept { return object_; }
    T* operator->() const noexcept { return object_; }
    T& operator*() const noexcept { return *object_; }
    explicit operator bool() const noexcept { return object_ != nullptr; }

private:
    explicit Ref(T* object) noexcept : object_{object} {}
    T* object_{};
};

} // namespace kernel
