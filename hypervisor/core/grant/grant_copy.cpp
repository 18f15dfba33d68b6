// SPDX-License-Identifier: BSD-2-Clause
// Copying between a domain's own frames and granted ones, without mapping them.
#include <core/grant/grant_state.hpp>

#include <arch/api/cpu.hpp>
#include <core/guest/guest_ptr.hpp>

#include <cstring>

namespace cero::grant {

namespace {

constexpr unsigned preempt_every = 8; ///< copies of a page between preemption points

/// One side of a copy: the frame, held for the access, and the pin that goes with it.
class Side {
public:
    Side() noexcept = default;
    Side(const Side&) = delete;
    Side& operator=(const Side&) = delete;
    ~Side() {
        if (!held_) return;
        put_frame(frame_, access_);
        if (granter_ != nullptr) unpin(*granter_, ref_, access_);
    }

    Code hold_granted(DomainCache& domains, Domain& self, DomainId granter, GrantRef ref, Access access) noexcept {
        Domain* owner = domains.find(granter);
        if (owner == nullptr) return CERO_GNTST_bad_domain;
        const Pinned pinned = pin(*owner, ref, self, access, 1);
        if (pinned.code != CERO_GNTST_okay) return pinned.code;
        granter_ = owner;
        ref_ = ref;
        return keep(pinned.frame, access);
    }
    Code hold_own(Domain& self, DomainId named, MachineFrame frame, Access access) noexcept {
        if (named != domid_self && named != self.id) return CERO_GNTST_permission_denied;
        if (!frame_look(frame).is(FrameWord::allocated)) return CERO_GNTST_bad_page;
        const Status held =
            access == Access::write ? frame_get_writable(frame, self.slot) : frame_get(frame, self.slot);
        return held ? keep(frame, access) : Code{CERO_GNTST_bad_page};
    }
    [[nodiscard]] char* at(unsigned offset) const noexcept { return arch::frame_ptr<char>(frame_) + offset; }

private:
    Code keep(MachineFrame frame, Access access) noexcept {
        frame_ = frame;
        access_ = access;
        held_ = true;
        return CERO_GNTST_okay;
    }
    bool held_{};
    Access access_{Access::read};
    MachineFrame frame_{};
    GrantRef ref_{};
    Domain* granter_{};
};

struct Domains {
    DomainCache source, dest;
};

Code copy_one(Domain& self, Domains& domains, const cero_gnttab_copy& op) noexcept {
    if (op.source.offset + std::uint32_t{op.len} > page_size || op.dest.offset + std::uint32_t{op.len} > page_size)
        return CERO_GNTST_bad_copy_arg;
    Side source, dest;
    Code code = (op.flags & CERO_GNTCOPY_source_gref) != 0
                    ? source.hold_granted(domains.source, self, DomainId{op.source.domid}, GrantRef{op.source.u.ref},
                                          Access::read)
                    : source.hold_own(self, DomainId{op.source.domid}, MachineFrame{op.source.u.gmfn}, Access::read);
    if (code != CERO_GNTST_okay) return code;
    code = (op.flags & CERO_GNTCOPY_dest_gref) != 0
               ? dest.hold_granted(domains.dest, self, DomainId{op.dest.domid}, GrantRef{op.dest.u.ref}, Access::write)
               : dest.hold_own(self, DomainId{op.dest.domid}, MachineFrame{op.dest.u.gmfn}, Access::write);
    if (code != CERO_GNTST_okay) return code;
    memmove(dest.at(op.dest.offset), source.at(op.source.offset), op.len);
    return CERO_GNTST_okay;
}

} // namespace

Status copy(Vcpu& current, std::uint64_t array, std::uint64_t count, std::uint64_t& done) noexcept {
    Domains domains;
    const GuestPtr<cero_gnttab_copy> first{array};
    constexpr std::size_t status_offset = offsetof(cero_gnttab_copy, status);
    while (done < count) {
        const cero_gnttab_copy op = TRY(first.at(done).read());
        const Code code = copy_one(*current.domain, domains, op);
        TRY(first.at(done).field<std::int16_t>(status_offset).write(code));
        ++done;
        if (done < count && done % preempt_every == 0 && arch::preemption_point()) return Errno::restart;
    }
    return {};
}

} // namespace cero::grant
