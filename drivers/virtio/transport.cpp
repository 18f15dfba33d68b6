// SPDX-License-Identifier: BSD-2-Clause
// virtio over PCI, modern interface [VIRTIO 1.1, "Virtio Over PCI Bus"].
#include "transport.hpp"

#include "../pci/registers.hpp"

#include <kernel/log.hpp>
#include <kernel/memory.hpp>
#include <kernel/thread.hpp>

#include <cstring>

namespace drivers::virtio {

namespace {

constexpr std::uint8_t block_common = 1;
constexpr std::uint8_t block_notify = 2;
constexpr std::uint8_t block_isr = 3;
constexpr std::uint8_t block_device = 4;
constexpr std::uint8_t isr_queue = 1;
constexpr std::uint16_t no_vector = 0xffff;

constexpr std::uint8_t status_acknowledge = 1;
constexpr std::uint8_t status_driver = 2;
constexpr std::uint8_t status_driver_ok = 4;
constexpr std::uint8_t status_features_ok = 8;

} // namespace

/// Common configuration block.
struct Transport::Common {
    std::uint32_t device_feature_select;
    std::uint32_t device_feature;
    std::uint32_t driver_feature_select;
    std::uint32_t driver_feature;
    std::uint16_t config_vector;
    std::uint16_t queue_count;
    std::uint8_t device_status;
    std::uint8_t config_generation;
    std::uint16_t queue_select;
    std::uint16_t queue_size;
    std::uint16_t queue_vector;
    std::uint16_t queue_enable;
    std::uint16_t queue_notify_offset;
    std::uint32_t queue_descriptors[2];
    std::uint32_t queue_available[2];
    std::uint32_t queue_used[2];
};

Result<void*> Transport::map_block(std::uint8_t type, std::size_t minimum, std::size_t* size) {
    for (std::uint8_t at = pci_.find_capability(pci::capability_vendor); at != 0;
         at = pci_.find_capability(pci::capability_vendor, at)) {
        if (pci_.read8(static_cast<std::uint16_t>(at + 3)) != type)
            continue;
        const std::uint8_t bar = pci_.read8(static_cast<std::uint16_t>(at + 4));
        const std::uint32_t offset = pci_.read32(static_cast<std::uint16_t>(at + 8));
        const std::uint32_t length = pci_.read32(static_cast<std::uint16_t>(at + 12));
        if (length < minimum)
            continue;
        if (type == block_notify)
            notify_multiplier_ = pci_.read32(static_cast<std::uint16_t>(at + 16));
        if (size != nullptr)
            *size = length;
        return pci_.map_bar(bar, offset, length);
    }
    return Errno::nodev;
}

Status Transport::negotiate(std::uint64_t wanted) {
    pci_.enable_memory_and_bus_master();
    common_ = static_cast<volatile Common*>(TRY(map_block(block_common, sizeof(Common), nullptr)));
    notify_ = static_cast<volatile unsigned char*>(TRY(map_block(block_notify, 2, &notify_size_)));
    isr_ = static_cast<volatile unsigned char*>(TRY(map_block(block_isr, 1, nullptr)));
    if (auto block = map_block(block_device, 1, &device_config_size_); block)
        device_config_ = static_cast<volatile unsigned char*>(*block);
    reset();
    common_->device_status = status_acknowledge;
    common_->device_status = status_acknowledge | status_driver;
    common_->device_feature_select = 0;
    std::uint64_t offered = common_->device_feature;
    common_->device_feature_select = 1;
    offered |= std::uint64_t{common_->device_feature} << 32;
    if ((offered & feature_version_1) == 0)
        return Errno::nodev;
    features_ = offered & (wanted | feature_version_1);
    common_->driver_feature_select = 0;
    common_->driver_feature = static_cast<std::uint32_t>(features_);
    common_->driver_feature_select = 1;
    common_->driver_feature = static_cast<std::uint32_t>(features_ >> 32);
    common_->device_status = status_acknowledge | status_driver | status_features_ok;
    if ((common_->device_status & status_features_ok) == 0)
        return Errno::nodev;
    return {};
}

void Transport::reset() noexcept {
    common_->device_status = 0;
    for (unsigned i = 0; i < 1000 && common_->device_status != 0; ++i)
        kernel::yield();
}

void Transport::line_interrupt(void* argument) {
    auto& self = *static_cast<Transport*>(argument);
    // Reading the register also lowers the line.
    if ((*self.isr_ & isr_queue) == 0)
        return;
    for (unsigned i = 0; i < self.queue_count_; ++i)
        if (self.handlers_[i] != nullptr)
            self.handlers_[i](self.arguments_[i]);
}

Status Transport::setup_interrupts(unsigned queues, const InterruptHandler* handlers,
                                   void* const* arguments) {
    if (queues > max_queues)
        return Errno::inval;
    queue_count_ = queues;
    for (unsigned i = 0; i < queues; ++i) {
        handlers_[i] = handlers[i];
        arguments_[i] = arguments[i];
    }
    msix_ = pci_.enable_msix(queues, handlers, arguments).has_value();
    if (!msix_) {
        kernel::printk(kernel::Level::notice, "virtio: no MSI-X, using the interrupt line\n");
        TRY(pci_.enable_intx(line_interrupt, this));
    }
    common_->config_vector = no_vector;
    return {};
}

void Transport::free_queue(Queue& queue) noexcept {
    for (void*& page : queue.memory_) {
        if (page != nullptr)
            kernel::free_pages(page, 0);
        page = nullptr;
    }
}

Status Transport::setup_queue(unsigned index, Queue& queue) {
    common_->queue_select = static_cast<std::uint16_t>(index);
    unsigned size = common_->queue_size;
    if (size == 0)
        return Errno::nodev;
    if (size > VirtQueue::max_size)
        size = VirtQueue::max_size;
    static_assert(VirtQueue::descriptor_bytes <= kernel::page_size &&
                  VirtQueue::used_bytes <= kernel::page_size);
    for (void*& page : queue.memory_) {
        page = kernel::alloc_zeroed_page();
        if (page == nullptr) {
            free_queue(queue);
            return Errno::nomem;
        }
    }
    queue.index_ = static_cast<std::uint16_t>(index);
    const std::size_t doorbell = std::size_t{common_->queue_notify_offset} * notify_multiplier_;
    if (doorbell + sizeof(std::uint16_t) > notify_size_) {
        free_queue(queue);
        return Errno::inval;
    }
    queue.doorbell_ = reinterpret_cast<volatile std::uint16_t*>(notify_ + doorbell);
    queue.ring.initialise(queue.memory_[0], queue.memory_[1], queue.memory_[2], size,
                          has(feature_event_index));
    common_->queue_size = static_cast<std::uint16_t>(size);
    common_->queue_vector = msix_ ? static_cast<std::uint16_t>(index) : no_vector;
    volatile std::uint32_t* const registers[3] = {common_->queue_descriptors,
                                                  common_->queue_available, common_->queue_used};
    for (unsigned i = 0; i < 3; ++i) {
        const std::uint64_t machine = kernel::virt_to_machine(queue.memory_[i]);
        registers[i][0] = static_cast<std::uint32_t>(machine);
        registers[i][1] = static_cast<std::uint32_t>(machine >> 32);
    }
    common_->queue_enable = 1;
    return {};
}

void Transport::start() noexcept {
    common_->device_status =
        status_acknowledge | status_driver | status_features_ok | status_driver_ok;
}

} // namespace drivers::virtio
