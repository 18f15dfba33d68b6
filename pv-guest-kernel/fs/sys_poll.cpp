// SPDX-License-Identifier: BSD-2-Clause
// poll, ppoll, select and pselect6.
#include "syscall_support.hpp"
#include "wait_table.hpp"
#include <kernel/process_api.hpp>
#include <kernel/time.hpp>

#include <cstring>

namespace kernel {

namespace {

constexpr Nanoseconds forever = WaitQueue::no_deadline;

Nanoseconds deadline_after(Nanoseconds span) noexcept {
    Nanoseconds deadline = 0;
    return __builtin_add_overflow(monotonic_ns(), span, &deadline) ? forever : deadline;
}

/// Scans until something is ready or time is up. `scan(table)` counts ready entries and registers
/// with the table when it is not null. A signal ends the wait with EINTR: these calls never
/// restart.
template <typename Scan>
Result<int> poll_loop(Nanoseconds deadline, Scan scan) noexcept {
    WaitTable table;
    int ready = scan(deadline == 0 ? nullptr : &table);
    while (ready == 0 && deadline != 0) {
        const Errno waited = table.wait(deadline).error();
        if (waited == Errno::restart)
            return Errno::intr;
        ready = scan(nullptr);
        if (waited == Errno::timedout)
            break;
    }
    return ready;
}

struct PollEntry {
    int fd;
    std::uint16_t events;
    std::uint16_t ready;
};
static_assert(sizeof(PollEntry) == 8);

std::uint32_t events_of(int fd, PollTable* table) noexcept {
    auto file = file_of(fd);
    if (!file)
        return poll_event::nval;
    return (*file)->ops->poll(**file, table);
}

Result<int> poll_entries(PollEntry* entries, std::size_t count, Nanoseconds deadline) noexcept {
    constexpr std::uint32_t always = poll_event::err | poll_event::hup | poll_event::nval;
    return poll_loop(deadline, [=](PollTable* table) {
        int ready = 0;
        for (std::size_t i = 0; i < count; ++i) {
            PollEntry& entry = entries[i];
            entry.ready = 0;
            if (entry.fd < 0)
                continue;
            entry.ready =
                static_cast<std::uint16_t>(events_of(entry.fd, table) & (entry.events | always));
            ready += entry.ready != 0 ? 1 : 0;
        }
        return ready;
    });
}

Result<int> poll_user(UserAddress user, std::size_t count, Nanoseconds deadline) noexcept {
    constexpr std::size_t few = 16;
    if (count > static_cast<std::size_t>(current_files().limit))
        return Errno::inval;
    PollEntry small[few];
    PollEntry* entries = small;
    if (count > few) {
        entries = static_cast<PollEntry*>(kmalloc(count * sizeof(PollEntry)));
        if (entries == nullptr)
            return Errno::nomem;
    }
    Errno error =
        count == 0 ? Errno::ok : copy_from_user(entries, user, count * sizeof(PollEntry)).error();
    int ready = 0;
    if (error == Errno::ok) {
        auto polled = poll_entries(entries, count, deadline);
        error = polled.error();
        if (polled)
            ready = *polled;
        if (error == Errno::ok && count != 0)
            error = copy_to_user(user, entries, count * sizeof(PollEntry)).error();
    }
    if (entries != small)
        kfree(entries);
    if (error != Errno::ok)
        return error;
    return ready;
}

Result<int> sys_poll(UserAddress entries, std::size_t count, int timeout_ms) noexcept {
    Nanoseconds deadline = forever;
    if (timeout_ms == 0)
        deadline = 0;
    else if (timeout_ms > 0)
        deadline = deadline_after(static_cast<Nanoseconds>(timeout_ms) * ns_per_ms);
    return poll_user(entries, count, deadline);
}

/// The deadline of a relative timespec or timeval in user memory; null means for ever.
Result<Nanoseconds> user_deadline(UserAddress timeout, std::int64_t unit_ns) noexcept {
    if (timeout == 0)
        return forever;
    auto span = TRY(read_user<UserTimespec>(timeout));
    span.nanoseconds *= unit_ns;
    if (unit_ns != 1 && span.nanoseconds >= static_cast<std::int64_t>(ns_per_s)) {
        span.seconds += span.nanoseconds / static_cast<std::int64_t>(ns_per_s);
        span.nanoseconds %= static_cast<std::int64_t>(ns_per_s);
    }
    if (!span.is_valid())
        return Errno::inval;
    const Nanoseconds ns = span.to_ns();
    return ns == 0 ? Nanoseconds{0} : deadline_after(ns);
}

Status apply_mask(UserAddress mask) noexcept {
    if (mask != 0)
        set_temporary_signal_mask(TRY(read_user<std::uint64_t>(mask)));
    return {};
}

Result<int> sys_ppoll(UserAddress entries, std::size_t count, UserAddress timeout,
                      UserAddress mask) noexcept {
    const Nanoseconds deadline = TRY(user_deadline(timeout, 1));
    TRY(apply_mask(mask));
    return poll_user(entries, count, deadline);
}

constexpr std::size_t max_select = 1024;
/// The three bit sets of select, as read and as answered.
struct SelectSets {
    std::uint64_t wanted[3][max_select / 64];
    std::uint64_t ready[3][max_select / 64];
};
constexpr std::uint32_t select_events[3] = {
    poll_event::readable | poll_event::rdband | poll_event::hup | poll_event::err,
    poll_event::writable | poll_event::wrband | poll_event::err, poll_event::pri};

int scan_select(SelectSets& sets, std::size_t count, PollTable* table, bool& bad) noexcept {
    int ready = 0;
    std::memset(sets.ready, 0, sizeof(sets.ready));
    for (std::size_t fd = 0; fd < count; ++fd) {
        const std::size_t word = fd / 64;
        const std::uint64_t bit = std::uint64_t{1} << (fd % 64);
        if (((sets.wanted[0][word] | sets.wanted[1][word] | sets.wanted[2][word]) & bit) == 0)
            continue;
        const std::uint32_t events = events_of(static_cast<int>(fd), table);
        if ((events & poll_event::nval) != 0)
            bad = true;
        for (int set = 0; set < 3; ++set)
            if ((sets.wanted[set][word] & bit) != 0 && (events & select_events[set]) != 0) {
                sets.ready[set][word] |= bit;
                ++ready;
            }
    }
    return bad ? 1 : ready;
}

Result<int> select_user(std::size_t count, const UserAddress (&user)[3],
                        Nanoseconds deadline) noexcept {
    if (count > max_select)
        return Errno::inval;
    SelectSets sets;
    std::memset(&sets, 0, sizeof(sets));
    const std::size_t bytes = (count + 63) / 64 * 8;
    for (int i = 0; i < 3; ++i)
        if (user[i] != 0 && bytes != 0)
            TRY(copy_from_user(sets.wanted[i], user[i], bytes));
    bool bad = false;
    auto ready =
        poll_loop(deadline, [&](PollTable* table) { return scan_select(sets, count, table, bad); });
    if (!ready)
        return ready;
    if (bad)
        return Errno::badf;
    for (int i = 0; i < 3; ++i)
        if (user[i] != 0 && bytes != 0)
            TRY(copy_to_user(user[i], sets.ready[i], bytes));
    return ready;
}

Result<int> sys_select(int count, UserAddress in, UserAddress out, UserAddress except,
                       UserAddress timeout) noexcept {
    if (count < 0)
        return Errno::inval;
    const Nanoseconds deadline = TRY(user_deadline(timeout, 1000));
    auto ready = select_user(static_cast<std::size_t>(count), {in, out, except}, deadline);
    if (timeout != 0 && deadline != forever) { // Linux leaves what remains of the time
        const Nanoseconds now = monotonic_ns();
        const Nanoseconds left = deadline > now ? deadline - now : 0;
        (void)write_user(timeout, UserTimespec{static_cast<std::int64_t>(left / ns_per_s),
                                               static_cast<std::int64_t>(left % ns_per_s / 1000)});
    }
    return ready;
}

Result<int> sys_pselect6(int count, UserAddress in, UserAddress out, UserAddress except,
                         UserAddress timeout, UserAddress mask_argument) noexcept {
    if (count < 0)
        return Errno::inval;
    const Nanoseconds deadline = TRY(user_deadline(timeout, 1));
    if (mask_argument != 0) {
        const auto mask = TRY(read_user<std::uint64_t>(mask_argument));
        TRY(apply_mask(mask));
    }
    return select_user(static_cast<std::size_t>(count), {in, out, except}, deadline);
}

CERO_SYSCALL(7, poll);
CERO_SYSCALL(23, select);
CERO_SYSCALL(270, pselect6);
CERO_SYSCALL(271, ppoll);

} // namespace
} // namespace kernel
