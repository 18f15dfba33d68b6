// SPDX-License-Identifier: BSD-2-Clause
// Page faults: demand paging, copy-on-write, and access from other contexts.
#include "mm/address_space.hpp"

#include "arch/x86_64/hypercalls.hpp"
#include "process/process.hpp"
#include "sched/thread.hpp"

#include <kernel/log.hpp>
#include <kernel/mapping.hpp>

#include <cstring>

namespace kernel {
namespace {

constexpr int segv_maperr = 1;
constexpr int segv_accerr = 2;
constexpr int bus_adrerr = 2;
constexpr UserAddress neighbourhood = 16 * page_size; ///< file pages mapped around a faulting one

PteValue flags_of(const Vma& area, bool writable) noexcept {
    return pte::present | pte::user | pte::accessed | (writable ? pte::writable | pte::dirty : 0) |
           ((area.protection & protection::exec) != 0 ? 0 : pte::no_execute);
}

bool allows(const Vma& area, FaultKind kind) noexcept {
    if (kind.write)
        return (area.protection & protection::write) != 0;
    if (kind.fetch)
        return (area.protection & protection::exec) != 0;
    return area.protection != 0;
}

} // namespace

/// Writes one entry whose tables may still be offline. `flush`: an entry was there before.
Status AddressSpace::install(UserAddress address, PteValue entry, bool flush) noexcept {
    const Process* process = current()->process;
    if (tables_.is_live(address) && process != nullptr && process->space == this) {
        const long result = hyper::update_va_mapping(
            address, entry, flush ? CERO_UVMF_INVLPG | CERO_UVMF_LOCAL : CERO_UVMF_NONE);
        if (result != 0)
            panic("update_va_mapping(%llx, %llx) refused: %ld",
                  static_cast<unsigned long long>(address), static_cast<unsigned long long>(entry),
                  result);
        return {};
    }
    MmuBatch batch;
    tables_.set(batch, address, entry);
    if (flush)
        batch.flush_tlb();
    return {};
}

/// A write to a page that is mapped read-only although its area may be written.
Status AddressSpace::break_sharing(Vma& area, UserAddress address, PteValue old) noexcept {
    if ((old & pte::special) != 0)
        return Errno::fault;
    Page* page = own_page(pte::frame(old));
    if (area.shared) {
        if (area.mappable != nullptr) { // tells the owner that the page gets dirty
            Page* again = TRY(area.mappable->get_page(
                area.page_index + ((address - area.start) >> page_shift), true));
            again->put();
        }
        return install(address, pte::make(page->machine_frame(), flags_of(area, true)), true);
    }
    if (page->use == PageUse::anonymous && page->references == 1)
        return install(address, pte::make(page->machine_frame(), flags_of(area, true)), true);
    Page* copy = alloc_page(PageUse::anonymous);
    if (copy == nullptr)
        return Errno::nomem;
    memcpy(copy->data(), page->data(), page_size);
    TRY(install(address, pte::make(copy->machine_frame(), flags_of(area, true)), true));
    page->put();
    return {};
}

/// Maps pages of the same file around `address` that are in memory already.
void AddressSpace::map_neighbours(Vma& area, UserAddress address, MmuBatch& batch) noexcept {
    const UserAddress first = address & ~(neighbourhood - 1);
    const UserAddress low = first > area.start ? first : area.start;
    const UserAddress high = first + neighbourhood < area.end ? first + neighbourhood : area.end;
    for (UserAddress at = low; at < high; at += page_size) {
        if (at == address || pte::holds_page(tables_.get(at)))
            continue;
        Page* page = area.mappable->peek_page(area.page_index + ((at - area.start) >> page_shift));
        if (page == nullptr)
            continue;
        tables_.set(batch, at, pte::make(page->machine_frame(), flags_of(area, false)));
        ++resident;
    }
}

/// An empty entry gets its page.
Status AddressSpace::fill(Vma& area, UserAddress address, bool write) noexcept {
    if (area.device)
        return Errno::io;
    const std::uint64_t index = area.page_index + ((address - area.start) >> page_shift);
    Page* page = nullptr;
    bool writable = (area.protection & protection::write) != 0;
    bool from_file = false;
    if (area.mappable == nullptr) {
        page = alloc_zeroed(PageUse::anonymous);
        if (page == nullptr)
            return Errno::nomem;
    } else {
        page = TRY(area.mappable->get_page(index, write && area.shared));
        if (write && !area.shared) {
            Page* copy = alloc_page(PageUse::anonymous);
            if (copy == nullptr) {
                page->put();
                return Errno::nomem;
            }
            memcpy(copy->data(), page->data(), page_size);
            page->put();
            page = copy;
        } else {
            writable = write;
            from_file = !write;
        }
    }
    if (const Status ensured = tables_.ensure(address); !ensured) {
        page->put();
        return ensured.error();
    }
    ++resident;
    const PteValue entry = pte::make(page->machine_frame(), flags_of(area, writable));
    if (!from_file && !tables_.has_offline())
        return install(address, entry, false);
    MmuBatch batch;
    tables_.set(batch, address, entry);
    if (from_file)
        map_neighbours(area, address, batch);
    tables_.activate(batch);
    return {};
}

FaultResult AddressSpace::fault_locked(UserAddress address, FaultKind kind) noexcept {
    address = page_down(address);
    Vma* area = areas.find(address);
    if (area == nullptr) {
        // A stack that was given with MAP_GROWSDOWN reaches down to the access.
        const std::size_t above = areas.first_ending_above(address);
        if (above == areas.size() || !areas[above].grows_down ||
            areas[above].end - address > stack_size || areas.overlaps(address, areas[above].start))
            return {false, sig_segv, segv_maperr};
        area = &areas[above];
        area->start = address;
    }
    if (!allows(*area, kind))
        return {false, sig_segv, segv_accerr};
    const PteValue old = tables_.get(address);
    Errno error = Errno::ok;
    if (!pte::holds_page(old)) {
        error = fill(*area, address, kind.write).error();
        if (Process* process = current()->process; process != nullptr)
            ++process->minor_faults;
    } else if (kind.write && (old & pte::writable) == 0) {
        error = break_sharing(*area, address, old).error();
    }
    switch (error) {
    case Errno::ok:
        return {true, 0, 0};
    case Errno::nomem:
        printk(Level::error, "out of memory: killing %s (%d)", current()->name, current()->tid);
        return {false, sig_kill, 0};
    case Errno::fault:
        return {false, sig_segv, segv_accerr};
    default:
        return {false, sig_bus, bus_adrerr};
    }
}

FaultResult AddressSpace::fault(UserAddress address, FaultKind kind) noexcept {
    if (lock.held_by_current())
        return {false, sig_segv, segv_maperr}; // the kernel's own access while it changes the areas
    MutexGuard guard{lock};
    return fault_locked(address, kind);
}

std::size_t AddressSpace::access(UserAddress address, void* data, std::size_t size,
                                 bool write) noexcept {
    MutexGuard guard{lock};
    std::size_t done = 0;
    auto* bytes = static_cast<char*>(data);
    while (done < size && address < user_limit) {
        PteValue entry = tables_.get(address);
        if ((entry & pte::present) == 0 || (write && (entry & pte::writable) == 0)) {
            // Writing is for exec alone, which may write into read-only areas that it just made.
            Vma* area = areas.find(address);
            if (area == nullptr)
                break;
            const std::uint32_t protection = area->protection;
            if (write)
                area->protection |= protection::write;
            const FaultResult result = fault_locked(address, {write, false, false});
            area->protection = protection;
            entry = tables_.get(address);
            if (!result.handled || (entry & pte::present) == 0)
                break;
        }
        if ((entry & pte::special) != 0)
            break;
        const std::size_t offset = address & page_mask;
        const std::size_t run = page_size - offset < size - done ? page_size - offset : size - done;
        char* memory = static_cast<char*>(own_page(pte::frame(entry))->data()) + offset;
        if (write)
            memcpy(memory, bytes + done, run);
        else
            memcpy(bytes + done, memory, run);
        done += run;
        address += run;
    }
    return done;
}

Vma* find_vma(UserAddress address) noexcept {
    Process* process = current()->process;
    return process == nullptr ? nullptr : process->space->areas.find(address);
}

namespace {
/// Takes the address space's lock unless the caller, inside Mappable::mapped(), holds it already.
class SpaceGuard {
public:
    explicit SpaceGuard(AddressSpace& space) noexcept
        : lock_{space.lock}, taken_{!lock_.held_by_current()} {
        if (taken_)
            lock_.lock();
    }
    ~SpaceGuard() {
        if (taken_)
            lock_.unlock();
    }
    SpaceGuard(const SpaceGuard&) = delete;
    SpaceGuard& operator=(const SpaceGuard&) = delete;

private:
    Mutex& lock_;
    bool taken_;
};
} // namespace

Status map_user_frames(Vma& area, UserAddress address, const MachineFrame* frames,
                       std::size_t count, DomainId owner, int* errors) noexcept {
    if (address < area.start || count > (area.end - address) >> page_shift)
        return Errno::inval;
    AddressSpace& space = *area.space;
    SpaceGuard guard{space};
    const PteValue flags =
        pte::special | flags_of(area, (area.protection & protection::write) != 0);
    for (std::size_t i = 0; i < count; ++i)
        TRY(space.tables_.ensure(address + (i << page_shift)));
    space.activate();
    // Whole groups first; a group with a bad frame is repeated one by one for its errors.
    constexpr std::size_t group = 32;
    for (std::size_t at = 0; at < count;) {
        const std::size_t size = count - at < group ? count - at : group;
        cero_mmu_update requests[group];
        for (std::size_t i = 0; i < size; ++i)
            requests[i] = {space.tables_.entry_machine(address + ((at + i) << page_shift)),
                           pte::make(frames[at + i], flags)};
        std::uint32_t done = 0;
        long result = hyper::mmu_update(requests, static_cast<unsigned>(size), &done, owner);
        if (errors != nullptr)
            for (std::size_t i = 0; i < size; ++i)
                errors[at + i] = 0;
        if (result != 0) {
            if (errors == nullptr)
                return errno_of(result);
            for (std::size_t i = done; i < size; ++i) {
                result = hyper::mmu_update(&requests[i], 1, nullptr, owner);
                errors[at + i] = static_cast<int>(result);
            }
        }
        at += size;
    }
    return {};
}

Status map_user_page(Vma& area, UserAddress address, Page& page) noexcept {
    if (address < area.start || address >= area.end)
        return Errno::inval;
    AddressSpace& space = *area.space;
    SpaceGuard guard{space};
    TRY(space.tables_.ensure(address));
    space.activate();
    page.get();
    ++space.resident;
    return space.install(
        address,
        pte::make(page.machine_frame(), flags_of(area, (area.protection & protection::write) != 0)),
        true);
}

Result<std::uint64_t> user_pte_machine(Vma& area, UserAddress address) noexcept {
    if (address < area.start || address >= area.end)
        return Errno::inval;
    AddressSpace& space = *area.space;
    SpaceGuard guard{space};
    TRY(space.tables_.ensure(address));
    space.activate();
    return space.tables_.entry_machine(address);
}

} // namespace kernel
