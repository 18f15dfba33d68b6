// SPDX-License-Identifier: BSD-2-Clause
// Host stand-ins for memory, locks, time and processes. One thread: whoever would sleep fails the
// test.
#include "host_kernel.hpp"
#include "../block_node.hpp"
#include "../char_device.hpp"
#include "../ext2/ext2.hpp"
#include "../mem_devices.hpp"
#include "../page_cache.hpp"
#include "../random.hpp"
#include "../tmpfs.hpp"

#include <kernel/log.hpp>
#include <kernel/memory.hpp>
#include <kernel/page.hpp>
#include <kernel/process_api.hpp>
#include <kernel/thread.hpp>
#include <kernel/time.hpp>
#include <kernel/user_copy.hpp>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

namespace {

int allocations_left = -1;
std::size_t page_count;
int last_signal;
std::uint64_t wall = 1'700'000'000'000'000'000;
std::uint64_t monotonic = 1;

bool may_allocate() {
    if (allocations_left < 0)
        return true;
    if (allocations_left == 0)
        return false;
    --allocations_left;
    return true;
}

std::map<const void*, kernel::Page*>& page_map() {
    static auto& map = *new std::map<const void*, kernel::Page*>; // outlives the leak check
    return map;
}
std::map<const kernel::Page*, void*>& data_map() {
    static auto& map = *new std::map<const kernel::Page*, void*>;
    return map;
}

kernel::Ref<kernel::FsContext>& context() {
    static kernel::Ref<kernel::FsContext> fs;
    return fs;
}
kernel::Ref<kernel::FdTable>& table() {
    static kernel::Ref<kernel::FdTable> files;
    return files;
}
kernel::Credentials credentials;

} // namespace

namespace host {

void start() {
    static bool started;
    if (!started) {
        started = true;
        kernel::tmpfs::initialize();
        kernel::char_device::initialize();
        if (!kernel::vfs::mount_root())
            std::abort();
        kernel::mem_devices::initialize();
        kernel::ext2::initialize();
        kernel::block_node::initialize();
    }
    allocations_left = -1;
    credentials = {};
    auto fs = kernel::vfs::root_context();
    auto files = kernel::FdTable::create();
    context() = *std::move(fs);
    context()->umask = 022;
    table() = *std::move(files);
}
std::size_t pages_in_use() {
    return page_count;
}
void fail_allocations_after(int count) {
    allocations_left = count;
}
int taken_signal() {
    return std::exchange(last_signal, 0);
}
void set_wall_clock(std::uint64_t ns) {
    wall = ns;
}

} // namespace host

namespace kernel {

void* kmalloc(std::size_t size) noexcept {
    return may_allocate() ? std::malloc(size) : nullptr;
}
void* kzalloc(std::size_t size) noexcept {
    return may_allocate() ? std::calloc(1, size) : nullptr;
}
void* krealloc(void* block, std::size_t size) noexcept {
    return may_allocate() ? std::realloc(block, size) : nullptr;
}
void kfree(void* block) noexcept {
    std::free(block);
}
void* alloc_pages(unsigned order) noexcept {
    return may_allocate() ? std::aligned_alloc(page_size, page_size << order) : nullptr;
}
void free_pages(void* pages, unsigned) noexcept {
    std::free(pages);
}

Page* alloc_page(PageUse use) noexcept {
    if (!may_allocate())
        return nullptr;
    auto* page = new Page{};
    page->references = 1;
    page->use = use;
    void* data = std::aligned_alloc(page_size, page_size);
    std::memset(data, 0xa5, page_size);
    page_map()[data] = page;
    data_map()[page] = data;
    ++page_count;
    return page;
}
Page* alloc_zeroed(PageUse use) noexcept {
    Page* page = alloc_page(use);
    if (page != nullptr)
        std::memset(page->data(), 0, page_size);
    return page;
}
void Page::put() noexcept {
    if (--references != 0)
        return;
    void* memory = data_map()[this];
    page_map().erase(memory);
    data_map().erase(this);
    std::free(memory);
    --page_count;
    delete this;
}
void* Page::data() noexcept {
    return data_map()[this];
}
Page* page_of(const void* address) noexcept {
    return page_map()[address];
}
MachineFrame virt_to_mfn(const void* address) noexcept {
    return MachineFrame{reinterpret_cast<std::uintptr_t>(address) >> page_shift};
}
MemoryInfo memory_info() noexcept {
    return {1U << 20U, 1U << 19U, 0, 0};
}
void register_reclaimer(Reclaimer) noexcept {}

EventGuard::EventGuard() noexcept : was_masked_{false} {}
EventGuard::~EventGuard() {
    (void)was_masked_;
}
void Spinlock::lock() noexcept {
    if (held_.exchange(1, cero::Order::acquire) != 0)
        panic("spinlock taken twice");
}
void Spinlock::unlock() noexcept {
    held_.store(0, cero::Order::release);
}
void Mutex::lock() noexcept {
    if (owner_ != nullptr)
        panic("mutex taken twice");
    owner_ = reinterpret_cast<Thread*>(this);
}
bool Mutex::try_lock() noexcept {
    if (owner_ != nullptr)
        return false;
    lock();
    return true;
}
void Mutex::unlock() noexcept {
    owner_ = nullptr;
}
void WaitQueue::prepare(Waiter&, bool) noexcept {}
void WaitQueue::finish(Waiter&, bool) noexcept {}
void WaitQueue::sleep() noexcept {
    panic("would sleep");
}
bool WaitQueue::sleep_until(Nanoseconds deadline) noexcept {
    if (deadline == no_deadline)
        panic("would sleep for ever");
    monotonic = deadline;
    return false;
}
bool WaitQueue::interrupted() noexcept {
    return false;
}
void WaitQueue::wake_all() noexcept {}
void WaitQueue::wake_one() noexcept {}

Nanoseconds monotonic_ns() noexcept {
    return monotonic;
}
Nanoseconds wall_ns() noexcept {
    return wall;
}
std::uint64_t hardware_random() noexcept {
    return 0;
}

Status copy_from_user(void* to, UserAddress from, std::size_t size) noexcept {
    if (from < page_size)
        return Errno::fault;
    std::memcpy(to, reinterpret_cast<const void*>(from), size);
    return {};
}
Status copy_to_user(UserAddress to, const void* from, std::size_t size) noexcept {
    if (to < page_size)
        return Errno::fault;
    std::memcpy(reinterpret_cast<void*>(to), from, size);
    return {};
}
Result<std::size_t> copy_string_from_user(char* to, UserAddress from, std::size_t size) noexcept {
    const std::size_t length = std::strlen(reinterpret_cast<const char*>(from));
    if (length >= size)
        return Errno::nametoolong;
    std::memcpy(to, reinterpret_cast<const char*>(from), length + 1);
    return length;
}

Status sleep_until_interruptible(Nanoseconds deadline) noexcept {
    monotonic = deadline;
    return {};
}

void printk(Level, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    std::vfprintf(stderr, format, arguments);
    va_end(arguments);
}
void panic(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    std::vfprintf(stderr, format, arguments);
    va_end(arguments);
    std::abort();
}
std::size_t read_log(std::uint64_t&, char*, std::size_t) noexcept {
    return 0;
}

FsContext& current_fs() noexcept {
    return *context();
}
FdTable& current_files() noexcept {
    return *table();
}
const Credentials& current_credentials() noexcept {
    return credentials;
}
JobControl current_job() noexcept {
    return {1, 1, 1, true};
}
bool current_blocks_signal(int) noexcept {
    return false;
}
void signal_process_group(int, int signal) noexcept {
    last_signal = signal;
}
void signal_process(int, int signal) noexcept {
    last_signal = signal;
}
void signal_current(int signal) noexcept {
    last_signal = signal;
}
bool process_group_in_session(int, int) noexcept {
    return true;
}
bool process_group_is_orphaned(int) noexcept {
    return false;
}
void set_temporary_signal_mask(std::uint64_t) noexcept {}

} // namespace kernel
