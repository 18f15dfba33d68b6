// SPDX-License-Identifier: BSD-2-Clause
#include "mm/user_tables.hpp"

#include "arch/x86_64/hypercalls.hpp"
#include "mm/boot_memory.hpp"

#include <kernel/log.hpp>
#include <kernel/sync.hpp>

#include <cstring>

namespace kernel {
namespace {

RootPair* free_pairs;

std::uint64_t entry_address(const Page& table, unsigned index) noexcept {
    return (table.machine_frame().raw() << page_shift) + index * sizeof(PteValue);
}
PteValue* entries_of(const Page& table) noexcept {
    return static_cast<PteValue*>(pfn_to_virt(table.frame()));
}
PteValue table_entry(const Page& table) noexcept {
    return pte::make(table.machine_frame(), pte::table);
}

} // namespace

Result<RootPair*> take_root_pair() noexcept {
    if (free_pairs != nullptr) {
        RootPair* pair = free_pairs;
        free_pairs = pair->next;
        return pair;
    }
    auto* pair = static_cast<RootPair*>(kzalloc(sizeof(RootPair)));
    if (pair == nullptr)
        return Errno::nomem;
    Page** const parts[] = {&pair->kernel_root, &pair->user_root, &pair->level3};
    for (Page** part : parts)
        *part = alloc_zeroed(PageUse::table);
    if (pair->kernel_root == nullptr || pair->user_root == nullptr || pair->level3 == nullptr) {
        for (Page** part : parts)
            if (*part != nullptr)
                (*part)->put();
        kfree(pair);
        return Errno::nomem;
    }
    for (Page* root : {pair->kernel_root, pair->user_root})
        entries_of(*root)[0] = table_entry(*pair->level3);
    for (const unsigned slot : {direct_slot, vmap_slot, image_slot})
        entries_of(*pair->kernel_root)[slot] = kernel_root()[slot];
    MmuBatch batch;
    for (Page** part : parts)
        batch.protect(**part, false);
    batch.commit();
    const cero_mmuext_op pins[] = {
        {CERO_MMUEXT_PIN_L4_TABLE, 0, {pair->kernel_root->machine_frame().raw()}, {}},
        {CERO_MMUEXT_PIN_L4_TABLE, 0, {pair->user_root->machine_frame().raw()}, {}},
    };
    if (const long result = hyper::mmuext_op(pins, 2); result != 0)
        panic("the hypervisor refused the root of an address space: %ld", result);
    return pair;
}

void return_root_pair(RootPair& pair) noexcept {
    pair.next = free_pairs;
    free_pairs = &pair;
}

bool UserTables::NodeList::reserve() noexcept {
    if (count < capacity)
        return true;
    const std::size_t larger = capacity == 0 ? 4 : capacity * 2;
    auto* grown = static_cast<Node*>(krealloc(nodes, larger * sizeof(Node)));
    if (grown == nullptr)
        return false;
    nodes = grown;
    capacity = larger;
    return true;
}

UserTables::~UserTables() {
    kfree(level2_.nodes);
    kfree(level3_.nodes);
}

/// An offline table below `parent`. Its Page::index is the entry to hook it into, 0 when the parent
/// is offline too and got its entry at once.
Result<Page*> UserTables::new_table(Page& parent, unsigned index) noexcept {
    Page* table = alloc_zeroed(PageUse::table);
    if (table == nullptr)
        return Errno::nomem;
    table->link = {};
    if ((parent.flags & live) != 0) {
        table->index = entry_address(parent, index);
    } else {
        entries_of(parent)[index] = table_entry(*table);
    }
    offline_.push_back(*table);
    ++table_count_;
    return table;
}

Result<Page*> UserTables::make_level3(UserAddress address) noexcept {
    const unsigned slot = table_index(address, 4);
    if (slot == 0) {
        roots_.level3->flags |= live;
        return roots_.level3;
    }
    if (Page* table = level3_.find(slot); table != nullptr)
        return table;
    if (!level3_.reserve())
        return Errno::nomem;
    roots_.kernel_root->flags |= live;
    Page* table =
        TRY(new_table(*roots_.kernel_root, slot)); // activate() repeats it in the user root
    level3_.add(slot, table);
    return table;
}

Result<Page*> UserTables::make_level2(UserAddress address) noexcept {
    if (Page* table = level2(address); table != nullptr)
        return table;
    if (!level2_.reserve())
        return Errno::nomem;
    Page* parent = TRY(make_level3(address));
    Page* table = TRY(new_table(*parent, table_index(address, 3)));
    level2_.add(address >> 30, table);
    return table;
}

Page* UserTables::level1(UserAddress address) noexcept {
    const std::uint64_t key = address >> 21;
    if (key == cached_key_)
        return cached_level1_;
    Page* parent = level2(address);
    if (parent == nullptr)
        return nullptr;
    const unsigned index = table_index(address, 2);
    const PteValue entry = entries_of(*parent)[index];
    Page* table = nullptr;
    if ((entry & pte::present) != 0) {
        table = own_page(pte::frame(entry));
    } else if ((parent->flags & live) != 0) {
        const std::uint64_t hook = entry_address(*parent, index);
        for (Page& page : offline_)
            if (page.index == hook)
                table = &page;
    }
    if (table != nullptr) {
        cached_key_ = key;
        cached_level1_ = table;
    }
    return table;
}

PteValue UserTables::get(UserAddress address) noexcept {
    const Page* table = level1(address);
    return table == nullptr ? 0 : entries_of(*table)[table_index(address, 1)];
}

Status UserTables::ensure(UserAddress address) noexcept {
    if (level1(address) != nullptr)
        return {};
    Page* parent = TRY(make_level2(address));
    Page* table = TRY(new_table(*parent, table_index(address, 2)));
    cached_key_ = address >> 21;
    cached_level1_ = table;
    return {};
}

void UserTables::set(MmuBatch& batch, UserAddress address, PteValue value) noexcept {
    Page* table = level1(address);
    const unsigned index = table_index(address, 1);
    if ((table->flags & live) != 0)
        batch.set(entry_address(*table, index), value);
    else
        entries_of(*table)[index] = value;
}

bool UserTables::is_live(UserAddress address) noexcept {
    const Page* table = level1(address);
    return table != nullptr && (table->flags & live) != 0;
}

std::uint64_t UserTables::entry_machine(UserAddress address) noexcept {
    return entry_address(*level1(address), table_index(address, 1));
}

void UserTables::activate(MmuBatch& batch) noexcept {
    for (Page& page : offline_) {
        batch.protect(page, false);
        page.flags |= live;
    }
    // Hooks come after all protections: a hook validates the whole tree below it.
    const std::uint64_t kernel_root = roots_.kernel_root->machine_frame().raw();
    const std::uint64_t user_root = roots_.user_root->machine_frame().raw();
    while (Page* page = offline_.pop_front()) {
        if (page->index == 0)
            continue;
        batch.set(page->index, table_entry(*page));
        if (page->index >> page_shift == kernel_root)
            batch.set((user_root << page_shift) | (page->index & page_mask), table_entry(*page));
    }
}

void UserTables::detach(MmuBatch& batch) noexcept {
    activate(batch); // rare: an operation that failed half-way left tables offline
    for (std::size_t i = 0; i < level2_.count; ++i) {
        const UserAddress address = level2_.nodes[i].key << 30;
        if (table_index(address, 4) == 0)
            batch.set(entry_address(*roots_.level3, table_index(address, 3)), 0);
    }
    for (std::size_t i = 0; i < level3_.count; ++i)
        for (const Page* root : {roots_.kernel_root, roots_.user_root})
            batch.set(entry_address(*root, static_cast<unsigned>(level3_.nodes[i].key)), 0);
    for (std::size_t i = 0; i < level2_.count; ++i) {
        const PteValue* entries = entries_of(*level2_.nodes[i].page);
        for (unsigned j = 0; j < entries_per_table; ++j)
            if ((entries[j] & pte::present) != 0)
                batch.protect(*own_page(pte::frame(entries[j])), true);
        batch.protect(*level2_.nodes[i].page, true);
    }
    for (std::size_t i = 0; i < level3_.count; ++i)
        batch.protect(*level3_.nodes[i].page, true);
    batch.flush_tlb();
    batch.commit();
}

void UserTables::free_tables() noexcept {
    for (std::size_t i = 0; i < level2_.count; ++i) {
        const PteValue* entries = entries_of(*level2_.nodes[i].page);
        for (unsigned j = 0; j < entries_per_table; ++j)
            if ((entries[j] & pte::present) != 0)
                own_page(pte::frame(entries[j]))->put();
        level2_.nodes[i].page->put();
    }
    for (std::size_t i = 0; i < level3_.count; ++i)
        level3_.nodes[i].page->put();
    level2_.count = level3_.count = 0;
    cached_key_ = ~std::uint64_t{0};
}

} // namespace kernel
