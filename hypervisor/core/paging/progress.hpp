// SPDX-License-Identifier: BSD-2-Clause
// Progress: how far a batch of page-table requests has come, across its continuations.
#pragma once

#include <core/hypercall/hypercall.hpp>
#include <core/paging/page_type.hpp>

namespace cero {

/// mmu_update and mmuext_op take (array, count, pointer to "done", domain). A continuation carries
/// on with the rest of the array; a marker in the count tells that *done holds what went before.
class Progress {
public:
    Progress(Vcpu& current, std::uint64_t done_address, std::uint64_t count) noexcept
        : current_{current}, done_{done_address}, count_{count & ~marker}, continued_{(count & marker) != 0} {}

    [[nodiscard]] std::uint64_t count() const noexcept { return count_ & 0xffff'ffff; }

    Status begin() noexcept {
        if (continued_ && !done_.is_null()) before_ = TRY(done_.read());
        return {};
    }
    /// `n` requests were executed in this run; `next` is the address of the following one.
    Status end(Status status, std::uint64_t n, std::uint64_t next, std::uint64_t domain) noexcept;

private:
    static constexpr std::uint64_t marker = 0x8000'0000;
    Vcpu& current_;
    GuestPtr<std::uint32_t> done_;
    std::uint64_t count_;
    bool continued_;
    std::uint32_t before_{};
};

/// finish_page_work() for a hypercall that has no progress of its own: executed again as it was.
inline Status finish_or_continue(Vcpu& current) noexcept {
    if (finish_page_work(current)) [[likely]]
        return {};
    return hypercall_continue(current);
}

/// One request on the caller's own tables and frames, which is what kernels ask for most: without a batch around it.
/// `apply(context, request) -> Status`.
template <typename Request, typename Apply>
[[gnu::always_inline]] inline Status execute_one(Vcpu& current, std::uint64_t address, Apply&& apply) noexcept {
    TRY(finish_or_continue(current));
    const Request request = TRY(GuestPtr<Request>{address}.read());
    PageContext context{current, *current.domain, current.domain->slot};
    const Status status = apply(context, request);
    if (!status) return status.error() == Errno::restart ? hypercall_continue(current) /* as it was */ : status.error();
    if (current.unfinished_table == invalid_frame) [[likely]]
        return {};
    return Progress{current, 0, 1}.end(Errno::restart, 1, address, CERO_DOMID_SELF);
}

} // namespace cero
