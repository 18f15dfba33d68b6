// SPDX-License-Identifier: BSD-2-Clause
// Giving frames to domains, taking them back, and exchanging them.
#include <core/memory/reservation.hpp>

#include <arch/api/cpu.hpp>
#include <core/domain/domain.hpp>
#include <core/frame/frame_allocator.hpp>
#include <core/frame/frame_table.hpp>
#include <core/guest/guest_ptr.hpp>
#include <core/hypercall/hypercall.hpp>

#include <cero/abi/memory.h>

namespace cero {

namespace {

using Answer = Result<std::int64_t>;

constexpr unsigned guest_max_order = 9;
constexpr std::uint64_t max_extents = ~0ull >> CERO_MEMOP_EXTENT_SHIFT;

Result<DomainRef> subject_of(Vcpu& current, DomainId id) noexcept {
    Domain& self = *current.domain;
    const bool own = id == domid_self || id == self.id;
    if (!own && !self.is_control) return Errno::perm;
    DomainRef domain = find_domain(own ? self.id : id);
    if (!domain || domain->is_dying()) return Errno::srch;
    return domain;
}

constexpr AllocateFlags flags_of(const cero_memory_reservation& request, const Domain& domain) noexcept {
    return {.address_bits = static_cast<std::uint8_t>(request.mem_flags & 0xff), .zero = !domain.is_control};
}

void name_extent(MachineFrame first, unsigned order, std::uint64_t guest_frame) noexcept {
    for (std::uint64_t n = 0; n < 1ull << order; ++n) arch::m2p_set(first + n, guest_frame + n);
}

/// One new extent, reported in the list; `populate` says that the list names where it goes.
bool add_extent(Domain& domain, const cero_memory_reservation& request, GuestPtr<std::uint64_t> place,
                bool populate) noexcept {
    const unsigned order = request.extent_order;
    std::uint64_t guest_frame = 0;
    if (populate) {
        auto named = place.read();
        if (!named) return false;
        guest_frame = *named;
    }
    auto frame = allocate_frames(domain, order, flags_of(request, domain));
    if (!frame) return false;
    if (!place.is_null() && !place.write(frame->raw())) {
        FreeBatch batch{domain};
        frame_release_block(*frame, order, domain, batch);
        return false;
    }
    if (populate) name_extent(*frame, order, guest_frame);
    return true;
}

} // namespace

Answer change_reservation(Vcpu& current, std::uint64_t command, std::uint64_t argument, std::uint64_t start) noexcept {
    const auto request = TRY(GuestPtr<cero_memory_reservation>{argument}.read());
    if (request.nr_extents > max_extents || start > request.nr_extents) return Errno::inval;
    const unsigned limit = current.domain->is_control ? max_order : guest_max_order;
    if (request.extent_order > limit) return Errno::perm;
    const DomainRef domain = TRY(subject_of(current, DomainId{request.domid}));
    const GuestPtr<std::uint64_t> list{request.extent_start};
    if (list.is_null() && command != CERO_XENMEM_increase_reservation) return Errno::fault;
    FreeBatch batch{*domain};
    std::uint64_t n = start;
    for (; n < request.nr_extents; ++n) {
        if (n != start && arch::preemption_point())
            return hypercall_continue(current, command | (n << CERO_MEMOP_EXTENT_SHIFT), argument);
        if (command == CERO_XENMEM_decrease_reservation) {
            auto frame = list.at(n).read();
            if (!frame || !frame_release_block(MachineFrame{*frame}, request.extent_order, *domain, batch)) break;
        } else {
            const auto place = list.is_null() ? list : list.at(n);
            if (!add_extent(*domain, request, place, command == CERO_XENMEM_populate_physmap)) break;
        }
    }
    return static_cast<std::int64_t>(n);
}

namespace {

/// One group of an exchange: as many input extents as make up the larger of the two sizes. The
/// lists live in a hypervisor page each, so that the guest is read once.
class Exchange {
public:
    static constexpr unsigned max_group_order = 9;

    Exchange(Domain& domain, const cero_memory_exchange& request, MachineFrame lists) noexcept
        : domain_{domain}, request_{request}, given_{arch::frame_ptr<std::uint64_t>(lists)},
          taken_{arch::frame_ptr<std::uint64_t>(lists + 1)}, named_{arch::frame_ptr<std::uint64_t>(lists + 2)} {}

    [[nodiscard]] unsigned group_order() const noexcept {
        return request_.in.extent_order > request_.out.extent_order ? request_.in.extent_order
                                                                    : request_.out.extent_order;
    }
    [[nodiscard]] std::uint64_t inputs() const noexcept { return 1ull << (group_order() - request_.in.extent_order); }
    [[nodiscard]] std::uint64_t outputs() const noexcept { return 1ull << (group_order() - request_.out.extent_order); }

    /// Exchanges group `number`, or changes nothing. fault after success: the list was not
    /// writable.
    Status run(std::uint64_t number) noexcept {
        const GuestSpan in{GuestPtr<std::uint64_t>{request_.in.extent_start}.at(number * inputs()), inputs()};
        const GuestSpan out{GuestPtr<std::uint64_t>{request_.out.extent_start}.at(number * outputs()), outputs()};
        TRY(in.read_many(0, given_, inputs()));
        TRY(out.read_many(0, named_, outputs()));
        if (!lets_go(domain_)) return Errno::nomem;
        TRY(seize());
        if (const Status allocated = allocate(); !allocated) {
            restore(1ull << group_order());
            return allocated.error();
        }
        commit();
        return out.write_many(0, taken_, outputs());
    }

private:
    [[nodiscard]] MachineFrame given(std::uint64_t page) const noexcept {
        const unsigned order = request_.in.extent_order;
        return MachineFrame{given_[page >> order]} + (page & ((1ull << order) - 1));
    }
    Status seize() noexcept {
        for (std::uint64_t page = 0; page < 1ull << group_order(); ++page) {
            if (const Status seized = frame_seize(given(page), domain_); !seized) {
                restore(page);
                return seized.error();
            }
        }
        return {};
    }
    void restore(std::uint64_t pages) noexcept {
        for (std::uint64_t page = 0; page < pages; ++page) frame_restore_seized(given(page));
    }
    Status allocate() noexcept {
        const AllocateFlags flags = flags_of(request_.out, domain_);
        for (std::uint64_t n = 0; n < outputs(); ++n) {
            auto block = allocator_take(request_.out.extent_order, flags.address_bits, flags.zero);
            if (!block) {
                while (n-- > 0) allocator_give(MachineFrame{taken_[n]}, request_.out.extent_order);
                return block.error();
            }
            taken_[n] = block->first.raw();
        }
        return {};
    }
    void commit() noexcept {
        for (std::uint64_t n = 0; n < outputs(); ++n) {
            adopt_frames(domain_, MachineFrame{taken_[n]}, 1ull << request_.out.extent_order);
            name_extent(MachineFrame{taken_[n]}, request_.out.extent_order, named_[n]);
        }
        FreeBatch batch{domain_};
        for (std::uint64_t page = 0; page < 1ull << group_order(); ++page)
            frame_release_seized(given(page), domain_, batch);
    }

    Domain& domain_;
    const cero_memory_exchange& request_;
    std::uint64_t* given_; ///< first frames of the input extents
    std::uint64_t* taken_; ///< first frames of the output extents
    std::uint64_t* named_; ///< where the guest wants the output extents
};
constexpr unsigned exchange_lists_order = 2;

Answer run_exchange(Vcpu& current, GuestPtr<cero_memory_exchange> pointer, cero_memory_exchange& request,
                    Exchange& exchange) noexcept {
    const auto counter = pointer.field<std::uint64_t>(offsetof(cero_memory_exchange, nr_exchanged));
    while (request.nr_exchanged < request.in.nr_extents) {
        TRY(exchange.run(request.nr_exchanged / exchange.inputs()));
        request.nr_exchanged += exchange.inputs();
        TRY(counter.write(request.nr_exchanged));
        if (request.nr_exchanged < request.in.nr_extents && arch::preemption_point())
            return hypercall_continue(current);
    }
    return 0;
}

bool is_well_formed(const cero_memory_exchange& request) noexcept {
    const cero_memory_reservation& in = request.in;
    const cero_memory_reservation& out = request.out;
    if (in.extent_order > Exchange::max_group_order || out.extent_order > Exchange::max_group_order ||
        in.nr_extents > (max_extents >> in.extent_order) || out.nr_extents > (max_extents >> out.extent_order) ||
        in.domid != out.domid || in.nr_extents << in.extent_order != out.nr_extents << out.extent_order)
        return false;
    const unsigned group = in.extent_order > out.extent_order ? in.extent_order : out.extent_order;
    const std::uint64_t inputs = 1ull << (group - in.extent_order);
    return in.nr_extents % inputs == 0 && request.nr_exchanged % inputs == 0 && request.nr_exchanged <= in.nr_extents;
}

} // namespace

Answer exchange_memory(Vcpu& current, std::uint64_t argument) noexcept {
    const GuestPtr<cero_memory_exchange> pointer{argument};
    cero_memory_exchange request = TRY(pointer.read());
    if (!is_well_formed(request)) return Errno::inval;
    const DomainRef domain = TRY(subject_of(current, DomainId{request.in.domid}));
    const MachineFrame lists = TRY(allocate_hypervisor_frames(exchange_lists_order));
    Exchange exchange{*domain, request, lists};
    auto answer = run_exchange(current, pointer, request, exchange);
    free_hypervisor_frames(lists, exchange_lists_order);
    return answer;
}

} // namespace cero
