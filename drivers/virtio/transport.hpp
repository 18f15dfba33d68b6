// SPDX-License-Identifier: BSD-2-Clause
// Transport: a virtio 1.0 device on PCI: feature negotiation, queues, device configuration.
#pragma once

#include "virtqueue.hpp"

#include <cero/driver/pci.hpp>

namespace drivers::virtio {

inline constexpr std::uint16_t pci_vendor = 0x1af4;
inline constexpr std::uint16_t pci_product_base = 0x1040; ///< + device type

inline constexpr std::uint64_t feature_indirect = 1ull << 28;
inline constexpr std::uint64_t feature_event_index = 1ull << 29;
inline constexpr std::uint64_t feature_version_1 = 1ull << 32;

/// A queue with its memory and its doorbell.
class Queue {
public:
    VirtQueue ring;
    /// Rings the doorbell.
    void notify() noexcept { *doorbell_ = index_; }

private:
    friend class Transport;
    volatile std::uint16_t* doorbell_{};
    std::uint16_t index_{};
    void* memory_[3]{};
};

class Transport {
public:
    explicit Transport(PciDevice& device) noexcept : pci_{device} {}

    /// Finds the register blocks, resets the device and agrees on the features in `wanted` that it
    /// has.
    [[nodiscard]] Status negotiate(std::uint64_t wanted);
    [[nodiscard]] bool has(std::uint64_t feature) const noexcept {
        return (features_ & feature) != 0;
    }
    /// Interrupts: one vector for configuration, one per queue; or one INTx line for all.
    [[nodiscard]] Status setup_interrupts(unsigned queues, const InterruptHandler* handlers,
                                          void* const* arguments);
    [[nodiscard]] Status setup_queue(unsigned index, Queue& queue);
    void start() noexcept;
    void reset() noexcept;

    template <typename T>
    [[nodiscard]] T config(std::size_t offset) const noexcept {
        T value;
        for (std::size_t i = 0; i < sizeof(T); ++i)
            reinterpret_cast<unsigned char*>(&value)[i] = device_config_[offset + i];
        return value;
    }
    [[nodiscard]] std::size_t config_size() const noexcept { return device_config_size_; }

private:
    struct Common;
    static void line_interrupt(void* argument);
    [[nodiscard]] Result<void*> map_block(std::uint8_t type, std::size_t minimum,
                                          std::size_t* size);
    void free_queue(Queue& queue) noexcept;

    PciDevice& pci_;
    volatile Common* common_{};
    volatile unsigned char* notify_{};
    std::size_t notify_size_{};
    std::uint32_t notify_multiplier_{};
    volatile unsigned char* isr_{};
    volatile unsigned char* device_config_{};
    std::size_t device_config_size_{};
    std::uint64_t features_{};
    bool msix_{};
    static constexpr unsigned max_queues = 4;
    unsigned queue_count_{};
    InterruptHandler handlers_[max_queues]{};
    void* arguments_[max_queues]{};
};

} // namespace drivers::virtio
