// SPDX-License-Identifier: BSD-2-Clause
// Areas: mapping, unmapping, protection, moving, and copying for fork.
#include "mm/address_space.hpp"

#include "arch/x86_64/hypercalls.hpp"
#include "arch/x86_64/user_context.hpp"
#include "mm/shared_memory.hpp"

#include <kernel/log.hpp>

#include <cstring>

namespace kernel {
namespace {

bool is_valid_range(UserAddress start, std::uint64_t size) noexcept {
    return (start & page_mask) == 0 && size != 0 && size <= user_limit &&
           start <= user_limit - size;
}

/// The entry for the same frame under the area's protection. Writing is granted only where no fault
/// is needed to break sharing or to note the page as dirty.
PteValue entry_for(const Vma& area, PteValue old) noexcept {
    const PteValue kept = old & pte::special;
    if (area.protection == 0)
        return pte::make_hidden(pte::frame(old), kept);
    PteValue flags = kept | pte::present | pte::user | pte::accessed;
    if ((area.protection & protection::exec) == 0)
        flags |= pte::no_execute;
    if ((area.protection & protection::write) != 0) {
        const Page* page = kept != 0 ? nullptr : own_page(pte::frame(old));
        if (page == nullptr
                ? area.shared
                : !area.shared && page->use == PageUse::anonymous && page->references == 1)
            flags |= pte::writable | pte::dirty;
    }
    return pte::make(pte::frame(old), flags);
}

} // namespace

Vma* new_area() noexcept {
    auto* storage = kzalloc(sizeof(Vma));
    return storage == nullptr ? nullptr : ::new (storage) Vma;
}

void delete_area(Vma& area) noexcept {
    if (area.mappable != nullptr)
        area.mappable->map_put();
    if (area.file != nullptr)
        area.file->put();
    kfree(&area);
}

Result<AddressSpace*> AddressSpace::create() noexcept {
    RootPair* roots = TRY(take_root_pair());
    auto* storage = kzalloc(sizeof(AddressSpace));
    if (storage == nullptr) {
        return_root_pair(*roots);
        return Errno::nomem;
    }
    return ::new (storage) AddressSpace{*roots};
}

void AddressSpace::put() noexcept {
    if (--references_ == 0)
        destroy();
}

void AddressSpace::destroy() noexcept {
    lock.lock(); // nobody else is left; device hooks may ask who holds it
    for (std::size_t i = 0; i < areas.size(); ++i) {
        Vma& area = areas[i];
        if (area.mappable != nullptr)
            area.mappable->unmapping(area, area.start, area.end);
    }
    {
        MmuBatch batch;
        tables_.detach(batch);
    }
    forget_address_space(*this);
    // No table is live: entries are plain memory, pages go back without further ado.
    for (std::size_t i = 0; i < areas.size(); ++i) {
        Vma& area = areas[i];
        tables_.for_each_page(area.start, area.end, [](UserAddress, PteValue entry) {
            if ((entry & pte::special) == 0)
                own_page(pte::frame(entry))->put();
        });
        delete_area(area);
    }
    tables_.free_tables();
    RootPair& roots = tables_.roots();
    lock.unlock();
    this->~AddressSpace();
    kfree(this);
    return_root_pair(roots);
}

void AddressSpace::activate() noexcept {
    MmuBatch batch;
    tables_.activate(batch);
}

UserAddress AddressSpace::find_gap(std::uint64_t size) const noexcept {
    const UserAddress gap = areas.find_gap(size, mmap_bottom, mmap_top);
    return gap != 0 ? gap : areas.find_gap(size, stack_top, user_limit);
}

Status AddressSpace::insert_area(Vma& area) noexcept {
    TRY(areas.reserve(2));
    area.space = this;
    areas.insert(area);
    return {};
}

void AddressSpace::merge_around(std::size_t index) noexcept {
    if (index + 1 < areas.size() && can_merge(areas[index], areas[index + 1])) {
        areas[index].end = areas[index + 1].end;
        delete_area(areas[index + 1]);
        areas.remove_at(index + 1);
    }
    if (index > 0 && can_merge(areas[index - 1], areas[index])) {
        areas[index - 1].end = areas[index].end;
        delete_area(areas[index]);
        areas.remove_at(index);
    }
}

Result<UserAddress> AddressSpace::map(const MapRequest& request) noexcept {
    const std::uint64_t size = page_up(request.size);
    if (size == 0 || size > user_limit)
        return size == 0 && request.size != 0 ? Errno::nomem
               : request.size == 0            ? Errno::inval
                                              : Errno::nomem;
    Mappable* mappable = nullptr;
    if (request.file != nullptr)
        mappable = TRY(request.file->ops->mappable(*request.file));
    Vma* area = new_area();
    if (area == nullptr)
        return Errno::nomem;
    if (request.file == nullptr && request.shared) {
        auto memory = SharedMemory::create(size >> page_shift);
        if (!memory) {
            delete_area(*area);
            return memory.error();
        }
        mappable = *memory;
    }
    area->protection = request.protection;
    area->shared = request.shared;
    area->grows_down = request.grows_down;
    area->page_index = request.page_index;
    if (mappable != nullptr) {
        area->mappable = mappable;
        mappable->map_get();
        area->file = request.file;
        if (area->file != nullptr)
            area->file->get();
    }
    MutexGuard guard{lock};
    UserAddress address = page_down(request.address);
    const auto place = [&]() -> Status {
        if (request.fixed) {
            if ((request.address & page_mask) != 0 || !is_valid_range(address, size))
                return Errno::inval;
            if (request.no_replace && areas.overlaps(address, address + size))
                return Errno::exist;
            return unmap_locked(address, address + size);
        }
        if (address < mmap_bottom || !is_valid_range(address, size) ||
            areas.overlaps(address, address + size))
            address = find_gap(size);
        return address == 0 ? Errno::nomem : Errno::ok;
    };
    Errno error = place().error();
    if (error == Errno::ok) {
        area->start = address;
        area->end = address + size;
        error = insert_area(*area).error();
    }
    if (error != Errno::ok) {
        delete_area(*area);
        return error;
    }
    if (mappable != nullptr) {
        const Status filled = mappable->mapped(*area);
        if (!filled) {
            clear_range(*area, area->start, area->end);
            areas.remove_at(areas.first_ending_above(address));
            delete_area(*area);
            return filled.error();
        }
    } else {
        merge_around(areas.first_ending_above(address));
    }
    return address;
}

/// Makes `at` a border between areas, if it lies inside one.
Status AddressSpace::split(UserAddress at) noexcept {
    Vma* area = areas.find(at);
    if (area == nullptr || area->start == at)
        return {};
    if (area->fixed_size)
        return Errno::inval;
    TRY(areas.reserve(1));
    Vma* upper = new_area();
    if (upper == nullptr)
        return Errno::nomem;
    *upper = *area;
    upper->start = at;
    upper->page_index = area->page_index + ((at - area->start) >> page_shift);
    area->end = at;
    if (upper->mappable != nullptr)
        upper->mappable->map_get();
    if (upper->file != nullptr)
        upper->file->get();
    areas.insert(*upper);
    return {};
}

/// Empties the entries of [start, end), which lies in `area`.
void AddressSpace::clear_range(Vma& area, UserAddress start, UserAddress end) noexcept {
    if (area.mappable != nullptr)
        area.mappable->unmapping(area, start, end);
    MmuBatch batch;
    tables_.for_each_page(start, end, [&](UserAddress address, PteValue entry) {
        tables_.set(batch, address, 0);
        batch.flush_tlb();
        if ((entry & pte::special) == 0) {
            --resident;
            batch.put_later(*own_page(pte::frame(entry)));
        }
    });
}

Status AddressSpace::unmap_locked(UserAddress start, UserAddress end) noexcept {
    TRY(areas.reserve(2));
    TRY(split(start));
    TRY(split(end));
    const std::size_t index = areas.first_ending_above(start);
    while (index < areas.size() && areas[index].start < end) {
        Vma& area = areas[index];
        clear_range(area, area.start, area.end);
        areas.remove_at(index);
        delete_area(area);
    }
    return {};
}

Status AddressSpace::unmap(UserAddress start, UserAddress end) noexcept {
    if (end <= start || !is_valid_range(start, end - start))
        return Errno::inval;
    MutexGuard guard{lock};
    return unmap_locked(start, end);
}

Status AddressSpace::protect(UserAddress start, UserAddress end,
                             std::uint32_t protection) noexcept {
    if (end == start)
        return {};
    if (end < start || !is_valid_range(start, end - start))
        return Errno::inval;
    MutexGuard guard{lock};
    // All of the range must be mapped.
    UserAddress covered = start;
    for (std::size_t i = areas.first_ending_above(start);
         i < areas.size() && areas[i].start <= covered; ++i) {
        if (areas[i].device) // the hypervisor judges foreign frames, not we
            return Errno::acces;
        covered = areas[i].end;
        if (covered >= end)
            break;
    }
    if (covered < end)
        return Errno::nomem;
    TRY(split(start));
    TRY(split(end));
    const std::size_t first = areas.first_ending_above(start);
    MmuBatch batch;
    std::size_t index = first;
    for (; index < areas.size() && areas[index].start < end; ++index) {
        Vma& area = areas[index];
        if (area.protection == protection)
            continue;
        area.protection = protection;
        tables_.for_each_page(area.start, area.end, [&](UserAddress address, PteValue entry) {
            const PteValue changed = entry_for(area, entry);
            if (changed == entry)
                return;
            tables_.set(batch, address, changed);
            batch.flush_tlb();
        });
    }
    batch.commit();
    // Merge from the top down, so that indexes below stay valid.
    for (std::size_t i = index < areas.size() ? index : areas.size() - 1; i > first; --i)
        if (can_merge(areas[i - 1], areas[i])) {
            areas[i - 1].end = areas[i].end;
            delete_area(areas[i]);
            areas.remove_at(i);
        }
    merge_around(first);
    return {};
}

Status AddressSpace::discard(UserAddress start, UserAddress end) noexcept {
    if (end == start)
        return {};
    if (end < start || !is_valid_range(start, end - start))
        return Errno::inval;
    MutexGuard guard{lock};
    for (std::size_t i = areas.first_ending_above(start); i < areas.size() && areas[i].start < end;
         ++i) {
        Vma& area = areas[i];
        if (area.device || area.shared)
            continue;
        clear_range(area, area.start > start ? area.start : start, area.end < end ? area.end : end);
    }
    return {};
}

UserAddress AddressSpace::set_break(UserAddress wanted) noexcept {
    MutexGuard guard{lock};
    if (wanted < break_start || wanted - break_start > data_limit)
        return break_end;
    const UserAddress old_end = page_up(break_end);
    const UserAddress new_end = page_up(wanted);
    if (new_end < old_end) {
        if (!unmap_locked(new_end, old_end))
            return break_end;
    } else if (new_end > old_end) {
        if (new_end > mmap_top || areas.overlaps(old_end, new_end))
            return break_end;
        const std::size_t below = areas.first_ending_above(old_end - 1);
        Vma* heap = below < areas.size() ? &areas[below] : nullptr;
        constexpr std::uint32_t data = protection::read | protection::write;
        if (old_end > break_start && heap != nullptr && heap->end == old_end &&
            heap->mappable == nullptr && heap->protection == data && !heap->shared) {
            heap->end = new_end;
        } else {
            Vma* area = new_area();
            if (area == nullptr)
                return break_end;
            area->start = old_end;
            area->end = new_end;
            area->protection = data;
            if (!insert_area(*area)) {
                delete_area(*area);
                return break_end;
            }
        }
    }
    break_end = wanted;
    return wanted;
}

/// Moves the entries of a range to tables elsewhere; the areas are the caller's business.
Status AddressSpace::move_pages(UserAddress from, UserAddress to, std::uint64_t size) noexcept {
    Errno error = Errno::ok;
    MmuBatch batch;
    tables_.for_each_page(from, from + size, [&](UserAddress address, PteValue) {
        if (error == Errno::ok)
            error = tables_.ensure(to + (address - from)).error();
    });
    if (error != Errno::ok)
        return error;
    tables_.for_each_page(from, from + size, [&](UserAddress address, PteValue entry) {
        tables_.set(batch, address, 0);
        tables_.set(batch, to + (address - from), entry);
        batch.flush_tlb();
    });
    batch.commit();
    tables_.activate(batch);
    return {};
}

Result<UserAddress> AddressSpace::remap(UserAddress address, std::uint64_t old_size,
                                        std::uint64_t new_size, bool may_move, bool fixed,
                                        UserAddress target) noexcept {
    old_size = page_up(old_size);
    new_size = page_up(new_size);
    if (old_size == 0 || new_size == 0 || !is_valid_range(address, old_size) ||
        (fixed && !is_valid_range(target, new_size)))
        return Errno::inval;
    MutexGuard guard{lock};
    Vma* area = areas.find(address);
    if (area == nullptr || address + old_size > area->end)
        return Errno::fault;
    if (area->fixed_size || area->device)
        return Errno::inval;
    if (!fixed) {
        if (new_size <= old_size) {
            if (new_size < old_size)
                TRY(unmap_locked(address + new_size, address + old_size));
            return address;
        }
        if (area->end == address + old_size && address + new_size <= user_limit &&
            !areas.overlaps(area->end, address + new_size)) {
            area->end = address + new_size;
            return address;
        }
        if (!may_move)
            return Errno::nomem;
        target = find_gap(new_size);
        if (target == 0)
            return Errno::nomem;
    } else {
        if (target < address + old_size && address < target + new_size)
            return Errno::inval;
        TRY(unmap_locked(target, target + new_size));
        area = areas.find(address);
        if (new_size < old_size) {
            TRY(unmap_locked(address + new_size, address + old_size));
            old_size = new_size;
            area = areas.find(address);
        }
    }
    TRY(areas.reserve(4));
    TRY(split(address));
    TRY(split(address + old_size));
    area = areas.find(address);
    Vma* moved = new_area();
    if (moved == nullptr)
        return Errno::nomem;
    *moved = *area;
    moved->start = target;
    moved->end = target + new_size;
    if (const Status done = move_pages(address, target, old_size); !done) {
        kfree(moved);
        return done.error();
    }
    areas.remove_at(areas.first_ending_above(address));
    kfree(area); // its references went over to the new area
    areas.insert(*moved);
    return target;
}

Status AddressSpace::copy_to(AddressSpace& child, UserAddress hot) noexcept {
    MutexGuard guard{lock};
    child.break_start = break_start;
    child.break_end = break_end;
    child.arguments_start = arguments_start;
    child.arguments_end = arguments_end;
    child.environment_start = environment_start;
    child.environment_end = environment_end;
    child.data_limit = data_limit;
    child.executable = executable.clone();
    TRY(child.areas.reserve(areas.size()));
    Errno error = Errno::ok;
    {
        MmuBatch batch; // write protection here, hooks of the child's tables
        for (std::size_t i = 0; i < areas.size() && error == Errno::ok; ++i) {
            Vma& area = areas[i];
            if (area.dont_copy || area.device)
                continue;
            Vma* copy = new_area();
            if (copy == nullptr) {
                error = Errno::nomem;
                break;
            }
            *copy = area;
            copy->space = &child;
            if (copy->mappable != nullptr)
                copy->mappable->map_get();
            if (copy->file != nullptr)
                copy->file->get();
            child.areas.insert(*copy);
            tables_.for_each_page(area.start, area.end, [&](UserAddress address, PteValue entry) {
                if (error != Errno::ok || (entry & pte::special) != 0)
                    return;
                if (!child.tables_.ensure(address)) {
                    error = Errno::nomem;
                    return;
                }
                Page* page = own_page(pte::frame(entry));
                PteValue given = entry;
                if (!area.shared && (entry & pte::writable) != 0) {
                    if (page_down(hot) == address) {
                        if (Page* own = alloc_page(PageUse::anonymous); own != nullptr) {
                            memcpy(own->data(), page->data(), page_size);
                            child.tables_.set(
                                batch, address,
                                pte::make(own->machine_frame(), entry & ~pte::frame_mask));
                            ++child.resident;
                            return;
                        }
                    }
                    given &= ~pte::writable;
                    tables_.set(batch, address, given);
                    batch.flush_tlb();
                }
                page->get();
                child.tables_.set(batch, address, given & ~(pte::dirty));
                ++child.resident;
            });
        }
        child.tables_.activate(batch);
    }
    return error;
}

} // namespace kernel
