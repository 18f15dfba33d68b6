// SPDX-License-Identifier: BSD-2-Clause
// Release of a dying domain's memory: a preemptible scan of the frame table.
#include <core/paging/page_type.hpp>

#include <arch/api/cpu.hpp>
#include <arch/api/tlb.hpp>
#include <core/domain/domain.hpp>

namespace cero {

namespace {

constexpr std::uint64_t scan_step = 1024; ///< frames looked at between preemption points

/// Takes from one frame what the domain itself holds. restart: a table's teardown stopped.
Status relinquish_frame(PageContext& context, MachineFrame frame, FreeBatch& batch) noexcept {
    Domain& domain = context.tables;
    Atomic<std::uint64_t>& word = frame_word(frame);
    const FrameWord now{word.load(Order::relaxed)};
    if (now.is(FrameWord::pinned)) {
        word.fetch_and(~FrameWord::pinned, Order::acq_rel);
        page_type_put(context, frame);
        if (context.current.unfinished_table != invalid_frame) return Errno::restart;
    }
    if (now.is(FrameWord::partial)) TRY(drain_partial(context, frame));
    // A frame that was given back before, but pinned until now, is not the domain's any more.
    if (now.is(FrameWord::allocated)) static_cast<void>(frame_release_allocation(frame, domain, batch));
    return {};
}

} // namespace

Status relinquish_domain_memory(Vcpu& current, Domain& domain, std::uint64_t& cursor) noexcept {
    TRY(finish_page_work(current));
    if (cursor == 0) arch::tlb_flush(domain.dirty_mask());
    PageContext context{current, domain, domain.slot};
    FreeBatch batch{domain};
    while (cursor < frame_limit) {
        const std::uint64_t end = cursor + scan_step < frame_limit ? cursor + scan_step : frame_limit;
        for (; cursor < end; ++cursor)
            if (frame_look(MachineFrame{cursor}).is_owned_by(domain.slot))
                TRY(relinquish_frame(context, MachineFrame{cursor}, batch));
        batch.flush();
        if (domain.memory.owned_pages.load(Order::relaxed) == 0) cursor = frame_limit;
        if (cursor < frame_limit && arch::preemption_point()) return Errno::restart;
    }
    return {};
}

} // namespace cero
