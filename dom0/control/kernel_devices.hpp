// SPDX-License-Identifier: BSD-2-Clause
// The kernel's Xen devices as Linux defines them: privcmd, evtchn, gntdev, xenbus_backend.
#pragma once

#include "base/file.hpp"

#include <cero/abi/types.h>

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace cero::control {

/// Pages of another domain (or of the kernel) in our address space; unmapped by the destructor.
class Mapping {
public:
    Mapping() noexcept = default;
    Mapping(void* address, std::size_t bytes) noexcept : address_{address}, bytes_{bytes} {}
    Mapping(Mapping&& other) noexcept
        : address_{std::exchange(other.address_, nullptr)}, bytes_{std::exchange(other.bytes_, 0)},
          grant_fd_{std::exchange(other.grant_fd_, -1)}, grant_index_{other.grant_index_} {}
    Mapping& operator=(Mapping&& other) noexcept;
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    ~Mapping() { reset(); }

    [[nodiscard]] std::uint8_t* data() const noexcept {
        return static_cast<std::uint8_t*>(address_);
    }
    [[nodiscard]] std::size_t size() const noexcept { return bytes_; }
    [[nodiscard]] explicit operator bool() const noexcept { return address_ != nullptr; }
    void reset() noexcept;

private:
    friend class GrantMapper;
    void* address_{};
    std::size_t bytes_{};
    int grant_fd_{-1};
    std::uint64_t grant_index_{};
};

/// /dev/xen/evtchn: the event channels of this process.
class EventChannels {
public:
    EventChannels(); ///< throws Error when this is not a domain with the device
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    /// Each returns a local port, or a negative errno.
    [[nodiscard]] int bind_virq(std::uint32_t virq) noexcept;
    [[nodiscard]] int bind_interdomain(cero_domid domain, cero_evtchn_port remote) noexcept;
    void unbind(cero_evtchn_port port) noexcept;
    void notify(cero_evtchn_port port) noexcept;
    /// Ports that fired since the last call; each stays masked until unmask().
    [[nodiscard]] std::vector<cero_evtchn_port> take_pending();
    void unmask(cero_evtchn_port port) noexcept;

private:
    Fd fd_;
};

/// /dev/xen/gntdev: maps pages that other domains have granted to this one.
class GrantMapper {
public:
    /// An empty Mapping when the grant cannot be mapped (errno says why).
    [[nodiscard]] Mapping map(cero_domid domain, cero_grant_ref reference) noexcept;

private:
    Fd fd_;
};

/// /dev/xen/privcmd: hypercalls and mappings of foreign frames.
class Privcmd {
public:
    Privcmd(); ///< throws Error when this is not a control domain
    /// The hypercall's result: a negative errno for a failure.
    [[nodiscard]] long call(std::uint64_t number,
                            const std::array<std::uint64_t, 5>& arguments) noexcept;
    /// Maps `frames` of `domain` one after the other. An empty Mapping on failure (errno).
    [[nodiscard]] Mapping map_foreign(cero_domid domain, std::span<const cero_frame> frames,
                                      bool writable) noexcept;

private:
    Fd fd_;
};

/// The page and the event channel that the kernel's own XenStore client uses.
struct KernelStoreRing {
    Mapping page;
    cero_evtchn_port port{};
};
[[nodiscard]] KernelStoreRing open_kernel_store_ring(); ///< throws Error

/// Memory that a hypercall may point to: present for as long as it lives.
class HypercallBuffer {
public:
    explicit HypercallBuffer(std::size_t bytes); ///< zeroed; throws Error
    [[nodiscard]] std::uint64_t address() const noexcept {
        return reinterpret_cast<std::uint64_t>(memory_.data());
    }
    template <typename T>
    [[nodiscard]] T* as() const noexcept {
        return reinterpret_cast<T*>(memory_.data());
    }
    [[nodiscard]] std::size_t size() const noexcept { return memory_.size(); }

private:
    Mapping memory_;
};

} // namespace cero::control
