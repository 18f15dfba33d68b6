// SPDX-License-Identifier: BSD-2-Clause
#include "mm/mmu_batch.hpp"

#include "arch/x86_64/hypercalls.hpp"
#include "mm/boot_memory.hpp"

#include <kernel/log.hpp>

namespace kernel {

void MmuBatch::protect(const Page& page, bool writable) noexcept {
    set(direct_pte_machine(page.frame()), direct_pte(page.frame(), writable));
}

void MmuBatch::put_later(Page& page) noexcept {
    puts_[put_count_++] = &page;
    if (put_count_ == put_capacity)
        commit();
}

void MmuBatch::apply() noexcept {
    if (count_ == 0)
        return;
    std::uint32_t done = 0;
    const long result = hyper::mmu_update(requests_, count_, &done);
    if (result != 0)
        panic("mmu_update: request %u of %u (entry %#llx, value %#llx) refused: %ld", done, count_,
              static_cast<unsigned long long>(requests_[done % capacity].ptr),
              static_cast<unsigned long long>(requests_[done % capacity].val), result);
    count_ = 0;
}

void MmuBatch::commit() noexcept {
    if (flush_ && count_ != 0) {
        const cero_mmuext_op flush{CERO_MMUEXT_TLB_FLUSH_LOCAL, 0, {}, {}};
        std::uint32_t done = 0;
        hyper::Multicall<2> calls;
        calls.add(CERO_HYPERCALL_mmu_update, by_address(requests_), count_, by_address(&done),
                  CERO_DOMID_SELF);
        calls.add(CERO_HYPERCALL_mmuext_op, by_address(&flush), 1, 0, CERO_DOMID_SELF);
        if (!calls.flush())
            panic("mmu_update: request %u of %u (entry %#llx, value %#llx) refused", done, count_,
                  static_cast<unsigned long long>(requests_[done % capacity].ptr),
                  static_cast<unsigned long long>(requests_[done % capacity].val));
        count_ = 0;
    } else {
        apply();
        if (flush_) {
            const cero_mmuext_op flush{CERO_MMUEXT_TLB_FLUSH_LOCAL, 0, {}, {}};
            static_cast<void>(hyper::mmuext_op(&flush, 1));
        }
    }
    flush_ = false;
    const unsigned puts = put_count_;
    put_count_ = 0;
    for (unsigned i = 0; i < puts; ++i)
        puts_[i]->put();
}

} // namespace kernel
