// SPDX-License-Identifier: BSD-2-Clause
// UserTables: the page tables below the roots of one address space.
//
//   kernel root --+                        A table is offline until it hangs in a live one: then it
//   is
//                 +--> level 3 (slot 0) -> ordinary memory and its entries are plain stores.
//                 activate()
//   user root ----+        recycled        makes all offline tables read-only and hooks them in
//   with one
//                          with the roots  batch. Fork and exec build whole trees offline.
#pragma once

#include "mm/layout.hpp"
#include "mm/mmu_batch.hpp"

#include <kernel/mapping.hpp>

namespace kernel {

/// Both roots and the level-3 table of slot 0: pinned once, recycled from process to process.
struct RootPair {
    Page* kernel_root;
    Page* user_root;
    Page* level3;
    RootPair* next;
};
[[nodiscard]] Result<RootPair*> take_root_pair() noexcept;
void return_root_pair(RootPair& pair) noexcept;

class UserTables {
public:
    explicit UserTables(RootPair& roots) noexcept : roots_{roots} {}
    UserTables(const UserTables&) = delete;
    UserTables& operator=(const UserTables&) = delete;
    ~UserTables();

    [[nodiscard]] RootPair& roots() const noexcept { return roots_; }

    /// The present or absent entry of an address; 0 where no table exists.
    [[nodiscard]] PteValue get(UserAddress address) noexcept;
    /// Makes the tables for an address exist (possibly offline).
    [[nodiscard]] Status ensure(UserAddress address) noexcept;
    /// Writes an entry whose table exists: at once if the table is offline, through the batch
    /// otherwise.
    void set(MmuBatch& batch, UserAddress address, PteValue value) noexcept;
    /// True if the table of the address is live, so that update_va_mapping reaches it.
    [[nodiscard]] bool is_live(UserAddress address) noexcept;
    /// Machine address of the entry. The table exists.
    [[nodiscard]] std::uint64_t entry_machine(UserAddress address) noexcept;
    /// Hooks offline tables in.
    void activate(MmuBatch& batch) noexcept;
    [[nodiscard]] bool has_offline() const noexcept { return !offline_.empty(); }

    /// Calls visit(address, entry) for each entry in [start, end) that holds a page, in order.
    template <typename Visit>
    void for_each_page(UserAddress start, UserAddress end, Visit visit) noexcept {
        for (UserAddress at = start; at < end;) {
            const UserAddress next_table = (at | (table_span - 1)) + 1;
            const UserAddress stop = next_table < end ? next_table : end;
            if (const Page* table = level1(at); table != nullptr) {
                const auto* entries = static_cast<const PteValue*>(pfn_to_virt(table->frame()));
                for (; at < stop; at += page_size)
                    if (const PteValue entry = entries[table_index(at, 1)]; pte::holds_page(entry))
                        visit(at, entry);
            } else if (level2(at) == nullptr) {
                at = (at | (level2_span - 1)) + 1;
                continue;
            }
            at = stop;
        }
    }
    /// Unhooks every table and makes it ordinary memory again; then no entry is live any more and
    /// the entries can still be read. free_tables() follows.
    void detach(MmuBatch& batch) noexcept;
    void free_tables() noexcept;
    [[nodiscard]] std::size_t table_count() const noexcept { return table_count_; }

private:
    static constexpr UserAddress table_span = UserAddress{1} << 21;
    static constexpr UserAddress level2_span = UserAddress{1} << 30;
    static constexpr std::uint16_t live = 1; ///< in Page::flags

    struct Node {          ///< a level-2 table, or a level-3 table of a slot other than 0
        std::uint64_t key; ///< address >> 30, or slot
        Page* page;
    };
    /// Small growing array of nodes.
    struct NodeList {
        Node* nodes{};
        std::size_t count{};
        std::size_t capacity{};
        [[nodiscard]] Page* find(std::uint64_t key) const noexcept {
            for (std::size_t i = 0; i < count; ++i)
                if (nodes[i].key == key)
                    return nodes[i].page;
            return nullptr;
        }
        /// Makes room, so that the next add() cannot fail.
        [[nodiscard]] bool reserve() noexcept;
        void add(std::uint64_t key, Page* page) noexcept { nodes[count++] = {key, page}; }
    };
    using PageList = cero::IntrusiveList<Page, &Page::link>;

    [[nodiscard]] Page* level2(UserAddress address) const noexcept {
        return level2_.find(address >> 30);
    }
    [[nodiscard]] Page* level1(UserAddress address) noexcept;
    [[nodiscard]] Result<Page*> make_level3(UserAddress address) noexcept;
    [[nodiscard]] Result<Page*> make_level2(UserAddress address) noexcept;
    [[nodiscard]] Result<Page*> new_table(Page& parent, unsigned index) noexcept;

    RootPair& roots_;
    NodeList level2_;
    NodeList level3_;
    PageList offline_;
    std::size_t table_count_{};
    std::uint64_t cached_key_{~std::uint64_t{0}}; ///< address >> 21 of cached_level1_
    Page* cached_level1_{};
};

} // namespace kernel
