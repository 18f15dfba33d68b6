// SPDX-License-Identifier: BSD-2-Clause
// Split virtqueue, driver side.
#include "virtqueue.hpp"

namespace drivers::virtio {

namespace {

constexpr std::uint16_t available_no_interrupt = 1;
constexpr std::uint16_t used_no_notify = 1;

std::uint16_t load_acquire(const std::uint16_t& word) noexcept {
    return __atomic_load_n(&word, __ATOMIC_ACQUIRE);
}
void store_release(std::uint16_t& word, std::uint16_t value) noexcept {
    __atomic_store_n(&word, value, __ATOMIC_RELEASE);
}

} // namespace

void VirtQueue::initialise(void* descriptors, void* available, void* used, unsigned size,
                           bool event_index) noexcept {
    descriptors_ = static_cast<Descriptor*>(descriptors);
    available_ = static_cast<std::uint16_t*>(available);
    used_ = static_cast<std::uint16_t*>(used);
    size_ = free_count_ = size;
    event_index_ = event_index;
    available_index_ = published_ = used_index_ = 0;
    in_flight_ = 0;
    for (unsigned i = 0; i < size; ++i) {
        next_[i] = static_cast<std::uint16_t>(i + 1 < size ? i + 1 : end_of_free);
        heads_[i] = {};
    }
    first_free_ = 0;
}

const std::uint16_t& VirtQueue::available_event() const noexcept {
    return used_[2 + 4 * size_];
}

std::uint16_t VirtQueue::take_descriptor() noexcept {
    const std::uint16_t index = first_free_;
    first_free_ = next_[index];
    --free_count_;
    return index;
}

void VirtQueue::free_chain(std::uint16_t head) noexcept {
    std::uint16_t last = head;
    for (unsigned i = 1; i < heads_[head].count; ++i)
        last = next_[last];
    next_[last] = first_free_;
    first_free_ = head;
    free_count_ += heads_[head].count;
    heads_[head] = {};
}

void VirtQueue::offer(std::uint16_t head, unsigned count, void* token) noexcept {
    heads_[head] = {token, static_cast<std::uint16_t>(count)};
    available_ring()[available_index_ % size_] = head;
    ++available_index_;
    ++in_flight_;
}

bool VirtQueue::add(const Buffer* out, unsigned out_count, const Buffer* in, unsigned in_count,
                    void* token) noexcept {
    const unsigned count = out_count + in_count;
    if (count == 0 || count > free_count_)
        return false;
    std::uint16_t head = end_of_free;
    std::uint16_t last = end_of_free;
    for (unsigned i = 0; i < count; ++i) {
        const Buffer& buffer = i < out_count ? out[i] : in[i - out_count];
        const std::uint16_t index = take_descriptor();
        descriptors_[index] = {buffer.machine, buffer.length,
                               i < out_count ? std::uint16_t{0} : descriptor_write, 0};
        if (last == end_of_free) {
            head = index;
        } else {
            descriptors_[last].flags |= descriptor_next;
            descriptors_[last].next = index;
            next_[last] = index;
        }
        last = index;
    }
    offer(head, count, token);
    return true;
}

bool VirtQueue::add_indirect(std::uint64_t table, unsigned count, void* token) noexcept {
    if (free_count_ == 0)
        return false;
    const std::uint16_t index = take_descriptor();
    descriptors_[index] = {table, static_cast<std::uint32_t>(count * sizeof(Descriptor)),
                           descriptor_indirect, 0};
    offer(index, 1, token);
    return true;
}

unsigned VirtQueue::fill_table(Descriptor* table, const Buffer* out, unsigned out_count,
                               const Buffer* in, unsigned in_count) noexcept {
    const unsigned count = out_count + in_count;
    for (unsigned i = 0; i < count; ++i) {
        const Buffer& buffer = i < out_count ? out[i] : in[i - out_count];
        const unsigned flags =
            (i < out_count ? 0u : descriptor_write) | (i + 1 < count ? descriptor_next : 0u);
        table[i] = {buffer.machine, buffer.length, static_cast<std::uint16_t>(flags),
                    static_cast<std::uint16_t>(i + 1 < count ? i + 1 : 0)};
    }
    return count;
}

bool VirtQueue::publish() noexcept {
    const std::uint16_t before = published_;
    if (before == available_index_)
        return false;
    published_ = available_index_;
    store_release(available_[1], available_index_);
    // Our index is visible before we look at what the device wants; it does the reverse.
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (event_index_) {
        const std::uint16_t event = load_acquire(available_event());
        return static_cast<std::uint16_t>(published_ - event - 1) <
               static_cast<std::uint16_t>(published_ - before);
    }
    return (load_acquire(used_[0]) & used_no_notify) == 0;
}

void* VirtQueue::take(std::uint32_t& written) noexcept {
    while (load_acquire(used_[1]) != used_index_) {
        const unsigned slot = used_index_ % size_;
        const auto* element = reinterpret_cast<const std::uint32_t*>(used_ + 2 + 4 * slot);
        const std::uint32_t id = __atomic_load_n(&element[0], __ATOMIC_RELAXED);
        written = __atomic_load_n(&element[1], __ATOMIC_RELAXED);
        ++used_index_;
        if (id >= size_ || heads_[id].token == nullptr)
            continue;
        void* token = heads_[id].token;
        free_chain(static_cast<std::uint16_t>(id));
        --in_flight_;
        return token;
    }
    return nullptr;
}

void VirtQueue::disable_interrupts() noexcept {
    if (event_index_)
        store_release(used_event(), static_cast<std::uint16_t>(used_index_ - 1));
    else
        store_release(available_[0], available_no_interrupt);
}

bool VirtQueue::enable_interrupts() noexcept {
    if (event_index_)
        store_release(used_event(), used_index_);
    else
        store_release(available_[0], 0);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return load_acquire(used_[1]) != used_index_;
}

void* VirtQueue::abandon() noexcept {
    for (unsigned i = 0; i < size_; ++i)
        if (void* token = heads_[i].token; token != nullptr) {
            free_chain(static_cast<std::uint16_t>(i));
            --in_flight_;
            return token;
        }
    return nullptr;
}

} // namespace drivers::virtio
