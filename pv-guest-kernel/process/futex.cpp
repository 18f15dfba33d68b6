// SPDX-License-Identifier: BSD-2-Clause
#include "process/futex.hpp"

#include "mm/address_space.hpp"
#include "process/process.hpp"

#include <kernel/syscall.hpp>

extern "C" int compare_exchange_user_raw(std::uint32_t* at, std::uint32_t* expected,
                                         std::uint32_t desired);

namespace kernel {
namespace {

constexpr unsigned bucket_count = 64;
constexpr std::uint32_t any_bit = ~std::uint32_t{0};

/// What a word is known by: address space and address, or file and offset where memory is shared.
struct Key {
    const void* object;
    std::uint64_t offset;
    bool operator==(const Key&) const noexcept = default;
};

struct Sleeper {
    cero::ListLink link{};
    Key key{};
    std::uint32_t bits{};
    Thread* thread{};
    bool woken{};
};
using SleeperList = cero::IntrusiveList<Sleeper, &Sleeper::link>;
SleeperList buckets[bucket_count];

Key key_of(UserAddress address) noexcept {
    AddressSpace* space = current_process()->space;
    if (const Vma* area = space->areas.find(address);
        area != nullptr && area->shared && area->mappable != nullptr)
        return {area->mappable, (area->page_index << page_shift) + (address - area->start)};
    return {space, address};
}

SleeperList& bucket_of(const Key& key) noexcept {
    const std::uint64_t mixed =
        (reinterpret_cast<std::uint64_t>(key.object) >> 6) ^ (key.offset >> 2);
    return buckets[(mixed ^ (mixed >> 7)) % bucket_count];
}

int wake(const Key& key, int count, std::uint32_t bits) noexcept {
    EventGuard guard;
    int woken = 0;
    SleeperList& bucket = bucket_of(key);
    for (Sleeper* sleeper = bucket.front(); sleeper != nullptr && woken < count;) {
        Sleeper* next = bucket.next(*sleeper);
        if (sleeper->key == key && (sleeper->bits & bits) != 0) {
            SleeperList::remove(*sleeper);
            sleeper->woken = true;
            make_runnable(*sleeper->thread);
            ++woken;
        }
        sleeper = next;
    }
    return woken;
}

int requeue(const Key& from, const Key& to, int count) noexcept {
    EventGuard guard;
    int moved = 0;
    SleeperList& source = bucket_of(from);
    SleeperList& target = bucket_of(to);
    for (Sleeper* sleeper = source.front(); sleeper != nullptr && moved < count;) {
        Sleeper* next = source.next(*sleeper);
        if (sleeper->key == from) {
            SleeperList::remove(*sleeper);
            sleeper->key = to;
            target.push_back(*sleeper);
            ++moved;
        }
        sleeper = next;
    }
    return moved;
}

Status wait(UserAddress address, std::uint32_t expected, Nanoseconds deadline,
            std::uint32_t bits) noexcept {
    // Nothing can run between this look and going to sleep: the kernel is not preempted.
    if (TRY(read_user<std::uint32_t>(address)) != expected)
        return Errno::again;
    Sleeper sleeper;
    sleeper.key = key_of(address);
    sleeper.bits = bits;
    sleeper.thread = current();
    {
        EventGuard guard;
        bucket_of(sleeper.key).push_back(sleeper);
    }
    WaitQueue alone; // only for its way of sleeping: wake() makes the thread runnable directly
    const Status slept = alone.wait_until_interruptible(deadline, [&] { return sleeper.woken; });
    EventGuard guard;
    SleeperList::remove(sleeper);
    if (sleeper.woken)
        return {};
    return slept.error();
}

struct UserTimespec {
    std::int64_t seconds;
    std::int64_t nanoseconds;
};

constexpr int op_mask = 0x7f;
constexpr int op_realtime = 0x100;
enum Operation {
    op_wait = 0,
    op_wake = 1,
    op_requeue = 3,
    op_cmp_requeue = 4,
    op_wake_op = 5,
    op_wait_bitset = 9,
    op_wake_bitset = 10
};

Result<Nanoseconds> deadline_of(int op, UserAddress timeout) noexcept {
    if (timeout == 0)
        return WaitQueue::no_deadline;
    const auto time = TRY(read_user<UserTimespec>(timeout));
    if (time.seconds < 0 || time.nanoseconds < 0 ||
        time.nanoseconds >= static_cast<std::int64_t>(ns_per_s))
        return Errno::inval;
    constexpr std::int64_t longest = 1LL << 33; // seconds; beyond that, forever
    const Nanoseconds value =
        static_cast<Nanoseconds>(time.seconds < longest ? time.seconds : longest) * ns_per_s +
        static_cast<Nanoseconds>(time.nanoseconds);
    if ((op & op_mask) == op_wait)
        return monotonic_ns() + value; // relative
    if ((op & op_realtime) == 0)
        return value;
    const Nanoseconds offset = wall_ns() - monotonic_ns();
    return value > offset ? value - offset : 0;
}

/// FUTEX_WAKE_OP: changes the second word as told and wakes there too if its old value compares.
Result<std::int64_t> wake_op(UserAddress address, int count, UserAddress second, int second_count,
                             std::uint32_t code) noexcept {
    const auto sign_extend = [](std::uint32_t v) {
        return static_cast<std::int32_t>(v << 20) >> 20;
    };
    std::int32_t operand = sign_extend(code >> 12 & 0xfff);
    const std::int32_t compared = sign_extend(code & 0xfff);
    if ((code >> 28 & 8) != 0)
        operand = static_cast<std::int32_t>(std::uint32_t{1} << (operand & 31));
    std::uint32_t old = TRY(read_user<std::uint32_t>(second));
    for (;;) {
        std::uint32_t value = static_cast<std::uint32_t>(operand);
        switch (code >> 28 & 7) {
        case 0:
            break;
        case 1:
            value = old + value;
            break;
        case 2:
            value = old | value;
            break;
        case 3:
            value = old & ~value;
            break;
        case 4:
            value = old ^ value;
            break;
        default:
            return Errno::nosys;
        }
        std::uint32_t seen = old;
        if (compare_exchange_user_raw(reinterpret_cast<std::uint32_t*>(second), &seen, value) != 0)
            return Errno::fault;
        if (seen == old)
            break;
        old = seen;
    }
    const auto signed_old = static_cast<std::int32_t>(old);
    bool holds = false;
    switch (code >> 24 & 0xf) {
    case 0:
        holds = signed_old == compared;
        break;
    case 1:
        holds = signed_old != compared;
        break;
    case 2:
        holds = signed_old < compared;
        break;
    case 3:
        holds = signed_old <= compared;
        break;
    case 4:
        holds = signed_old > compared;
        break;
    case 5:
        holds = signed_old >= compared;
        break;
    default:
        return Errno::nosys;
    }
    int woken = wake(key_of(address), count, any_bit);
    if (holds)
        woken += wake(key_of(second), second_count, any_bit);
    return woken;
}

Result<std::int64_t> sys_futex(UserAddress address, int op, std::uint32_t value,
                               std::uint64_t timeout, UserAddress second, std::uint32_t third) {
    if ((address & 3) != 0 || address >= user_limit)
        return (address & 3) != 0 ? Errno::inval : Errno::fault;
    const auto limit = static_cast<int>(value > 0x7fffffff ? 0x7fffffff : value);
    switch (op & op_mask) {
    case op_wait:
    case op_wait_bitset: {
        const std::uint32_t bits = (op & op_mask) == op_wait ? any_bit : third;
        if (bits == 0)
            return Errno::inval;
        const Nanoseconds deadline = TRY(deadline_of(op, timeout));
        const Status waited = wait(address, value, deadline, bits);
        if (waited.error() == Errno::restart && timeout != 0)
            return Errno::intr;
        return waited ? Result<std::int64_t>{0} : Result<std::int64_t>{waited.error()};
    }
    case op_wake:
        return wake(key_of(address), limit, any_bit);
    case op_wake_bitset:
        return third == 0 ? Result<std::int64_t>{Errno::inval}
                          : Result<std::int64_t>{wake(key_of(address), limit, third)};
    case op_cmp_requeue:
        if (TRY(read_user<std::uint32_t>(address)) != third)
            return Errno::again;
        [[fallthrough]];
    case op_requeue: {
        const int woken = wake(key_of(address), limit, any_bit);
        return woken + requeue(key_of(address), key_of(second), static_cast<int>(timeout));
    }
    case op_wake_op:
        return wake_op(address, limit, second, static_cast<int>(timeout), third);
    default:
        return Errno::nosys;
    }
}
CERO_SYSCALL(202, futex);

Status sys_set_robust_list(UserAddress head, std::size_t size) {
    if (size != 24)
        return Errno::inval;
    current()->robust_list = head;
    return {};
}
CERO_SYSCALL(273, set_robust_list);

constexpr std::uint32_t futex_waiters = 0x80000000;
constexpr std::uint32_t futex_owner_died = 0x40000000;
constexpr std::uint32_t futex_tid_mask = 0x3fffffff;

void abandon(UserAddress address, int tid) noexcept {
    const auto read = read_user<std::uint32_t>(address);
    if (!read || (*read & futex_tid_mask) != static_cast<std::uint32_t>(tid))
        return;
    std::uint32_t seen = *read;
    if (compare_exchange_user_raw(reinterpret_cast<std::uint32_t*>(address), &seen,
                                  (*read & futex_waiters) | futex_owner_died) == 0)
        static_cast<void>(wake(key_of(address), 1, any_bit));
}

} // namespace

int futex_wake(UserAddress address, int count) noexcept {
    return wake(key_of(address), count, any_bit);
}

void release_robust_futexes(Thread& thread) noexcept {
    if (thread.robust_list == 0 || thread.process->space == nullptr)
        return;
    const UserAddress head = thread.robust_list;
    thread.robust_list = 0;
    const auto offset = read_user<std::int64_t>(head + 8);
    auto entry = read_user<std::uint64_t>(head);
    if (!offset || !entry)
        return;
    constexpr unsigned longest = 2048; // a list made by a hostile program may be a ring
    UserAddress at = *entry;
    for (unsigned i = 0; i < longest && at != head && at != 0; ++i) {
        abandon(at + static_cast<std::uint64_t>(*offset), thread.tid);
        const auto next = read_user<std::uint64_t>(at);
        if (!next)
            return;
        at = *next & ~std::uint64_t{1};
    }
}

} // namespace kernel
