// SPDX-License-Identifier: BSD-2-Clause
// The block registry: names, listeners, reference counts and claims. Thread context; one mutex
// guards it all.
#include <cero/driver/block.hpp>
#include <kernel/log.hpp>
#include <kernel/sync.hpp>

#include <cstring>

namespace drivers {

/// Private face of the registry: the lists and the overlap rule.
struct BlockRegistryState {
    using Devices = IntrusiveList<BlockDevice, &BlockDevice::registry_link_>;
    using Listeners = IntrusiveList<BlockListener, &BlockListener::link>;
    static constinit kernel::Mutex lock;
    static constinit Devices devices;
    static constinit Listeners listeners;

    static BlockDevice* find(const char* name) noexcept {
        for (BlockDevice& device : devices)
            if (std::strcmp(device.name_, name) == 0)
                return &device;
        return nullptr;
    }
    static bool overlap(const BlockDevice& a, const BlockDevice& b) noexcept {
        const BlockDevice* disk_a = a.whole_ != nullptr ? a.whole_ : &a;
        const BlockDevice* disk_b = b.whole_ != nullptr ? b.whole_ : &b;
        return disk_a == disk_b && a.first_sector_ < b.first_sector_ + b.geometry_.sectors &&
               b.first_sector_ < a.first_sector_ + a.geometry_.sectors;
    }
    /// Whether anybody writes to sectors of `device` in a way that `access` does not stand.
    static bool conflicts(const BlockDevice& device, BlockAccess access) noexcept {
        if (access == BlockAccess::read)
            return false;
        for (const BlockDevice& other : devices)
            if (overlap(device, other) &&
                (other.exclusive_ ||
                 (access == BlockAccess::write_exclusive && other.writers_ != 0)))
                return true;
        return false;
    }
};

constinit kernel::Mutex BlockRegistryState::lock;
constinit BlockRegistryState::Devices BlockRegistryState::devices;
constinit BlockRegistryState::Listeners BlockRegistryState::listeners;

using State = BlockRegistryState;

unsigned CompletionBatch::depth_ = 0;

namespace {
constinit IntrusiveList<BatchEnd, &BatchEnd::link> batch_ends;
}

CompletionBatch::~CompletionBatch() {
    if (--depth_ != 0)
        return;
    for (;;) {
        BatchEnd* end;
        {
            kernel::EventGuard masked;
            end = batch_ends.pop_front();
        }
        if (end == nullptr)
            return;
        end->run(*end);
    }
}

void CompletionBatch::at_end(BatchEnd& end) noexcept {
    if (depth_ == 0)
        return end.run(end);
    kernel::EventGuard masked;
    if (!end.link.is_linked())
        batch_ends.push_back(end);
}

void BlockDevice::set_name(const char* name) noexcept {
    std::size_t i = 0;
    for (; i + 1 < name_size && name[i] != '\0'; ++i)
        name_[i] = name[i];
    name_[i] = '\0';
}

void BlockDevice::submit(BlockRequest& request) noexcept {
    const std::uint64_t unit = geometry_.logical_sector_size / block_sector_size;
    const bool ranged = request.op != BlockOp::flush;
    if (ranged && (request.sector > geometry_.sectors ||
                   request.sector_count > geometry_.sectors - request.sector ||
                   (unit > 1 && (request.sector % unit != 0 || request.sector_count % unit != 0))))
        return request.finish(Errno::inval);
    if (geometry_.read_only && (request.op == BlockOp::write || request.op == BlockOp::discard))
        return request.finish(Errno::rofs);
    if (request.op == BlockOp::discard && geometry_.max_discard_sectors == 0)
        return request.finish(Errno::opnotsupp);
    if (request.op == BlockOp::discard && request.sector_count > geometry_.max_discard_sectors)
        return request.finish(Errno::inval);
    if (request.segment_count > geometry_.max_segments ||
        ((request.op == BlockOp::read || request.op == BlockOp::write) &&
         request.segment_count == 0))
        return request.finish(Errno::inval);
    if (request.op == BlockOp::flush && !geometry_.has_flush)
        return request.finish(Errno::ok);
    start(request);
}

BlockHandle::BlockHandle(BlockHandle&& other) noexcept
    : device_{other.device_}, access_{other.access_} {
    other.device_ = nullptr;
}

BlockHandle& BlockHandle::operator=(BlockHandle&& other) noexcept {
    if (this != &other) {
        close();
        device_ = other.device_;
        access_ = other.access_;
        other.device_ = nullptr;
    }
    return *this;
}

Result<BlockHandle> BlockHandle::open(const char* name, BlockAccess access) {
    kernel::MutexGuard guard{State::lock};
    if (std::strncmp(name, "/dev/", 5) == 0)
        name += 5;
    BlockDevice* device = State::find(name);
    if (device == nullptr)
        return Errno::noent;
    if (access != BlockAccess::read && device->read_only())
        return Errno::rofs;
    if (State::conflicts(*device, access))
        return Errno::busy;
    ++device->handles_;
    if (access == BlockAccess::write_exclusive)
        device->exclusive_ = true;
    if (access == BlockAccess::write_shared)
        ++device->writers_;
    return BlockHandle{*device, access};
}

void BlockHandle::close() noexcept {
    BlockDevice* device = device_;
    if (device == nullptr)
        return;
    device_ = nullptr;
    bool last;
    {
        kernel::MutexGuard guard{State::lock};
        if (access_ == BlockAccess::write_exclusive)
            device->exclusive_ = false;
        if (access_ == BlockAccess::write_shared)
            --device->writers_;
        last = --device->handles_ == 0 && !device->registered_;
    }
    if (last)
        device->released();
}

Status BlockRegistry::add(BlockDevice& device, BlockDevice* whole, std::uint64_t first_sector) {
    {
        kernel::MutexGuard guard{State::lock};
        if (State::find(device.name_) != nullptr)
            return Errno::exist;
        device.whole_ = whole;
        device.first_sector_ = first_sector;
        device.registered_ = true;
        ++device.handles_; // held by this call: a listener may see the device go meanwhile
        State::devices.push_back(device);
    }
    for (BlockListener& listener : State::listeners)
        listener.block_added(device);
    BlockHandle call_reference{device, BlockAccess::read};
    return {};
}

void BlockRegistry::remove(BlockDevice& device) {
    {
        kernel::MutexGuard guard{State::lock};
        if (!device.registered_)
            return;
        device.registered_ = false;
        ++device.handles_;
        State::Devices::remove(device);
    }
    for (BlockListener& listener : State::listeners)
        listener.block_removed(device);
    BlockHandle call_reference{device, BlockAccess::read};
}

bool BlockRegistry::has_writer(const BlockDevice& device) noexcept {
    kernel::MutexGuard guard{State::lock};
    return State::conflicts(device, BlockAccess::write_exclusive);
}

BlockHandle BlockRegistry::hold(BlockDevice& device) {
    kernel::MutexGuard guard{State::lock};
    ++device.handles_;
    return BlockHandle{device, BlockAccess::read};
}

void BlockRegistry::changed(BlockDevice& device, const BlockGeometry& geometry) {
    device.geometry_ = geometry;
    for (BlockListener& listener : State::listeners) {
        listener.block_removed(device);
        listener.block_added(device);
    }
}

void BlockRegistry::listen(BlockListener& listener) {
    State::listeners.push_back(listener);
    for (BlockDevice& device : State::devices)
        listener.block_added(device);
}

void BlockRegistry::ignore(BlockListener& listener) {
    State::Listeners::remove(listener);
}

BlockDevice* BlockRegistry::at(std::size_t index) noexcept {
    kernel::MutexGuard guard{State::lock};
    for (BlockDevice& device : State::devices)
        if (index-- == 0)
            return &device;
    return nullptr;
}

} // namespace drivers
