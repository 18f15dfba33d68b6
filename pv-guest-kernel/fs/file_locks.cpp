// SPDX-License-Identifier: BSD-2-Clause
// Advisory locks: one list per inode of ranges held, with waiters on a queue of the inode.
#include "file_locks.hpp"
#include <kernel/vfs.hpp>

#include <new>

namespace kernel::file_locks {

namespace {

struct Held {
    Record record;
    const void* owner;
    Held* next;
};

struct LockList {
    Held* first{};
    WaitQueue waiters;
};

LockList* list_of(Inode& inode) noexcept {
    return static_cast<LockList*>(inode.advisory_locks);
}

bool overlaps(const Record& a, const Record& b) noexcept {
    return a.start <= b.end && b.start <= a.end;
}

Held* conflict(LockList& list, const void* owner, const Record& wanted) noexcept {
    for (Held* held = list.first; held != nullptr; held = held->next)
        if (held->owner != owner && overlaps(held->record, wanted) &&
            (held->record.kind == Kind::write || wanted.kind == Kind::write))
            return held;
    return nullptr;
}

/// Cuts the range out of what the owner holds. `spare` serves a split in the middle.
void cut(LockList& list, const void* owner, const Record& range, Held*& spare) noexcept {
    Held** link = &list.first;
    while (Held* held = *link) {
        Record& have = held->record;
        if (held->owner != owner || !overlaps(have, range)) {
            link = &held->next;
        } else if (have.start >= range.start && have.end <= range.end) {
            *link = held->next;
            delete held;
        } else if (have.start < range.start && have.end > range.end) {
            Held* tail = spare;
            spare = nullptr;
            *tail = {{range.end + 1, have.end, have.kind, have.pid}, owner, held->next};
            have.end = range.start - 1;
            held->next = tail;
            return;
        } else {
            if (have.start < range.start)
                have.end = range.start - 1;
            else
                have.start = range.end + 1;
            link = &held->next;
        }
    }
}

void drop(Inode& inode, const void* owner) noexcept {
    LockList* list = list_of(inode);
    if (list == nullptr)
        return;
    Held* unused = nullptr;
    cut(*list, owner, {0, ~std::uint64_t{0}, Kind::none, 0}, unused);
    list->waiters.wake_all();
    if (list->first == nullptr && inode.references() == 1) {
        inode.advisory_locks = nullptr;
        delete list;
    }
}

} // namespace

Status set(Inode& inode, const void* owner, const Record& record, bool wait) noexcept {
    if (list_of(inode) == nullptr) {
        if (record.kind == Kind::none)
            return {};
        inode.advisory_locks = new (std::nothrow) LockList;
        if (list_of(inode) == nullptr)
            return Errno::nolck;
    }
    LockList& list = *list_of(inode);
    Held* spare = new (std::nothrow) Held{};
    Held* fresh = record.kind == Kind::none ? nullptr : new (std::nothrow) Held{};
    if (spare == nullptr || (record.kind != Kind::none && fresh == nullptr)) {
        delete spare;
        delete fresh;
        return Errno::nolck;
    }
    Errno error = Errno::ok;
    if (record.kind != Kind::none && conflict(list, owner, record) != nullptr) {
        error = Errno::again;
        if (wait)
            error =
                list.waiters
                    .wait_interruptible([&] { return conflict(list, owner, record) == nullptr; })
                    .error();
    }
    if (error == Errno::ok) {
        cut(list, owner, record, spare);
        if (fresh != nullptr) {
            *fresh = {record, owner, list.first};
            list.first = fresh;
            fresh = nullptr;
        }
        list.waiters.wake_all();
    }
    delete spare;
    delete fresh;
    return error;
}

Record find_conflict(Inode& inode, const void* owner, const Record& wanted) noexcept {
    LockList* list = list_of(inode);
    Held* held = list == nullptr ? nullptr : conflict(*list, owner, wanted);
    return held == nullptr ? Record{wanted.start, wanted.end, Kind::none, 0} : held->record;
}

void drop_process(Inode& inode, FdTable& table) noexcept {
    drop(inode, &table);
}
void drop_open_file(Inode& inode, File& file) noexcept {
    drop(inode, &file);
}

} // namespace kernel::file_locks
