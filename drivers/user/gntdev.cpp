// SPDX-License-Identifier: BSD-2-Clause
// /dev/xen/gntdev: programs map pages that other domains grant.
//
// MAP_GRANT_REF names a set of references and yields an index; mmap at that index maps them through
// the process' own page-table entries; munmap (or exit) unmaps them. A set lives as long as it is
// either listed in its file or mapped.
#include "ioctl.hpp"

#include <cero/lib/intrusive_list.hpp>
#include <kernel/device.hpp>
#include <kernel/event.hpp>
#include <kernel/grant.hpp>
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>
#include <kernel/mapping.hpp>
#include <kernel/memory.hpp>
#include <kernel/sync.hpp>

#include <new>

namespace drivers::user {

namespace {

using kernel::Errno;
using kernel::File;
using kernel::Result;
using kernel::Status;
using kernel::UserAddress;
using kernel::Vma;

constexpr std::uint32_t max_grants_per_set = 1024;
constexpr std::size_t grants_at_once = 32;

/// References given by one MAP_GRANT_REF, and their mapping while there is one.
struct GrantSet {
    cero::ListLink link{};
    std::uint64_t first_page{}; ///< index / page size
    std::uint32_t count{};
    GntdevRef* refs{};
    kernel::grant::Handle* handles{}; ///< while mapped
    Vma* area{};
    GntdevNotify notify{};
    bool listed{true};

    ~GrantSet() {
        kernel::kfree(refs);
        kernel::kfree(handles);
    }
};

/// Page-table entries and references of up to grants_at_once pages, from `first` on; -> Status of
/// the batch.
Status map_some(GrantSet& set, Vma& area, std::uint32_t first, std::uint32_t count) {
    kernel::grant::MapRequest requests[grants_at_once]{};
    for (std::uint32_t i = 0; i < count; ++i) {
        const UserAddress address = area.start + std::uint64_t{first + i} * kernel::page_size;
        requests[i].pte_machine = TRY(kernel::user_pte_machine(area, address));
        requests[i].domain = static_cast<kernel::DomainId>(set.refs[first + i].domain);
        requests[i].ref = set.refs[first + i].ref;
        requests[i].readonly = (area.protection & kernel::protection::write) == 0;
    }
    TRY(kernel::grant::map(requests, count));
    bool failed = false;
    for (std::uint32_t i = 0; i < count; ++i) {
        if (requests[i].status == 0)
            set.handles[first + i] = requests[i].handle;
        else
            failed = true;
    }
    if (failed)
        return Errno::inval;
    return {};
}

void unmap_range(GrantSet& set, Vma& area, std::uint32_t first, std::uint32_t end) {
    kernel::grant::UnmapRequest requests[grants_at_once]{};
    std::uint32_t filled = 0;
    const auto flush = [&] {
        if (filled != 0 && !kernel::grant::unmap(requests, filled))
            kernel::printk(kernel::Level::error, "gntdev: unmap failed\n");
        filled = 0;
    };
    for (std::uint32_t i = first; i < end; ++i) {
        if (set.handles[i] == kernel::grant::invalid_handle)
            continue;
        const auto pte =
            kernel::user_pte_machine(area, area.start + std::uint64_t{i} * kernel::page_size);
        if (!pte)
            continue;
        requests[filled] = {};
        requests[filled].pte_machine = *pte;
        requests[filled++].handle = set.handles[i];
        set.handles[i] = kernel::grant::invalid_handle;
        if (filled == grants_at_once)
            flush();
    }
    flush();
}

/// One open file. Held by the File and by each mapping.
class GntdevFile final : public kernel::Mappable {
public:
    Result<std::uint64_t> add(std::uint32_t count, UserAddress refs) noexcept {
        if (count == 0 || count > max_grants_per_set)
            return Errno::inval;
        auto* set = new (std::nothrow) GrantSet;
        if (set == nullptr)
            return Errno::nomem;
        set->count = count;
        set->refs = static_cast<GntdevRef*>(kernel::kmalloc(count * sizeof(GntdevRef)));
        set->handles = static_cast<kernel::grant::Handle*>(
            kernel::kmalloc(count * sizeof(kernel::grant::Handle)));
        Status copied = Errno::nomem;
        if (set->refs != nullptr && set->handles != nullptr)
            copied = kernel::copy_from_user(set->refs, refs, count * sizeof(GntdevRef));
        if (!copied) {
            delete set;
            return copied.error();
        }
        for (std::uint32_t i = 0; i < count; ++i)
            set->handles[i] = kernel::grant::invalid_handle;
        kernel::MutexGuard guard{mutex_};
        set->first_page = next_page_;
        next_page_ += count;
        sets_.push_back(*set);
        return set->first_page * kernel::page_size;
    }
    Status forget(std::uint64_t index, std::uint32_t count) noexcept {
        kernel::MutexGuard guard{mutex_};
        GrantSet* set = find(index / kernel::page_size);
        if (set == nullptr || set->count != count || !set->listed)
            return Errno::noent;
        set->listed = false;
        drop_if_unused(*set);
        return {};
    }
    Status set_notify(const GntdevNotify& notify) noexcept {
        kernel::MutexGuard guard{mutex_};
        for (GrantSet& set : sets_) {
            const std::uint64_t begin = set.first_page * kernel::page_size;
            if (notify.index >= begin &&
                notify.index < begin + std::uint64_t{set.count} * kernel::page_size) {
                set.notify = notify;
                set.notify.index -= begin;
                return {};
            }
        }
        return Errno::noent;
    }
    Result<GntdevOffset> offset_of(UserAddress address) noexcept {
        kernel::MutexGuard guard{mutex_};
        for (GrantSet& set : sets_)
            if (set.area != nullptr && set.area->start == address)
                return GntdevOffset{address, set.first_page * kernel::page_size, set.count, 0};
        return Errno::inval;
    }
    void put() noexcept {
        if (--users_ != 0)
            return;
        while (GrantSet* set = sets_.pop_front())
            delete set;
        delete this;
    }
    void close() noexcept {
        {
            kernel::MutexGuard guard{mutex_};
            for (GrantSet* set = sets_.front(); set != nullptr;) {
                GrantSet* next = sets_.next(*set);
                set->listed = false;
                drop_if_unused(*set);
                set = next;
            }
        }
        put();
    }

    // Mappable
    Result<kernel::Page*> get_page(std::uint64_t, bool) override { return Errno::nxio; }
    void map_get() override { ++users_; }
    void map_put() override { put(); }
    Status mapped(Vma& area) override {
        kernel::MutexGuard guard{mutex_};
        area.device = true;
        area.dont_copy = true;
        area.fixed_size = true;
        GrantSet* set = find(area.page_index);
        if (set == nullptr || set->area != nullptr || area.pages() != set->count || !area.shared)
            return Errno::inval;
        for (std::uint32_t first = 0; first < set->count; first += grants_at_once) {
            const std::uint32_t left = set->count - first;
            const Status some =
                map_some(*set, area, first, left < grants_at_once ? left : grants_at_once);
            if (!some) {
                unmap_range(*set, area, 0, set->count);
                return some.error();
            }
        }
        set->area = &area;
        area.private_data = set;
        return {};
    }
    void unmapping(Vma& area, UserAddress start, UserAddress end) override {
        auto* set = static_cast<GrantSet*>(area.private_data);
        if (set == nullptr)
            return;
        kernel::MutexGuard guard{mutex_};
        if ((set->notify.action & gntdev_clear_byte) != 0 &&
            area.start + set->notify.index >= start && area.start + set->notify.index < end) {
            const char zero = 0;
            static_cast<void>(kernel::copy_to_user(area.start + set->notify.index, &zero, 1));
            set->notify.action &= ~gntdev_clear_byte;
        }
        if ((set->notify.action & gntdev_send_event) != 0)
            kernel::event::notify(set->notify.port);
        unmap_range(*set, area,
                    static_cast<std::uint32_t>((start - area.start) / kernel::page_size),
                    static_cast<std::uint32_t>((end - area.start) / kernel::page_size));
        if (start == area.start && end == area.end) {
            area.private_data = nullptr;
            set->area = nullptr;
            drop_if_unused(*set);
        }
    }

private:
    GrantSet* find(std::uint64_t first_page) noexcept {
        for (GrantSet& set : sets_)
            if (set.first_page == first_page)
                return &set;
        return nullptr;
    }
    void drop_if_unused(GrantSet& set) noexcept {
        if (set.listed || set.area != nullptr)
            return;
        sets_.remove(set);
        delete &set;
    }
    kernel::Mutex mutex_;
    cero::IntrusiveList<GrantSet, &GrantSet::link> sets_;
    std::uint64_t next_page_{};
    unsigned users_{1};
};

class GntdevOps final : public kernel::FileOps {
public:
    Status open(File& file) noexcept override {
        auto* state = new (std::nothrow) GntdevFile;
        if (state == nullptr)
            return Errno::nomem;
        file.data = state;
        return {};
    }
    void release(File& file) noexcept override { of(file).close(); }
    Result<kernel::Mappable*> mappable(File& file) noexcept override { return &of(file); }

    Result<std::int64_t> ioctl(File& file, std::uint32_t command,
                               std::uint64_t argument) noexcept override {
        switch (command) {
        case gntdev_map_grant_ref: {
            const auto count = TRY(kernel::read_user<std::uint32_t>(argument));
            const std::uint64_t index =
                TRY(of(file).add(count, argument + offsetof(GntdevMap, refs)));
            TRY(kernel::write_user(argument + offsetof(GntdevMap, index), index));
            return std::int64_t{0};
        }
        case gntdev_unmap_grant_ref: {
            const auto unmap = TRY(kernel::read_user<GntdevUnmap>(argument));
            TRY(of(file).forget(unmap.index, unmap.count));
            return std::int64_t{0};
        }
        case gntdev_get_offset: {
            const auto query = TRY(kernel::read_user<GntdevOffset>(argument));
            const GntdevOffset answer = TRY(of(file).offset_of(query.address));
            TRY(kernel::write_user(argument, answer));
            return std::int64_t{0};
        }
        case gntdev_set_max_grants:
            return std::int64_t{0};
        case gntdev_set_unmap_notify: {
            const auto notify = TRY(kernel::read_user<GntdevNotify>(argument));
            TRY(of(file).set_notify(notify));
            return std::int64_t{0};
        }
        default:
            return Errno::notty;
        }
    }

private:
    static GntdevFile& of(File& file) noexcept { return *static_cast<GntdevFile*>(file.data); }
};
constinit GntdevOps gntdev;

void start_gntdev() {
    kernel::register_misc_device("xen/gntdev", gntdev);
}
CERO_INITCALL(device, start_gntdev);

} // namespace

} // namespace drivers::user
