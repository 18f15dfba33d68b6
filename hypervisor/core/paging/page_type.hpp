// SPDX-License-Identifier: BSD-2-Clause
// Typed references on frames: taking the first one of a page-table or descriptor type validates the
// content, dropping the last one gives back what the entries hold. Both stop at preemption points.
#pragma once

#include <core/frame/frame_table.hpp>
#include <core/paging/pte.hpp>

namespace cero {

/// Takes a reference and a reference of a table type or `descriptors`, validating the frame if it
/// is not yet in that use. inval: not the domain's, or bad content; busy: in use as something else;
/// nomem: a count is full; restart: stopped at a preemption point, call again to go on.
Status page_type_get(Vcpu& current, Domain& domain, MachineFrame frame, FrameType type) noexcept;

/// Drops both. What the last reference of a table still holds may be left for later when a
/// preemption point stops it: the vCPU remembers it and finish_page_work() completes it.
void page_type_put(Vcpu& current, MachineFrame frame) noexcept;

/// Completes a teardown that was stopped. Each operation on page tables starts with it.
/// restart: stopped again.
Status finish_page_work(Vcpu& current) noexcept;

} // namespace cero
