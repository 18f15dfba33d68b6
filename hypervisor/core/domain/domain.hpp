// SPDX-License-Identifier: BSD-2-Clause
// Domain: a virtual machine, its rights, its share, its life; and the table of all domains.
#pragma once

#include <core/domain/rights.hpp>
#include <core/domain/vcpu.hpp>
#include <core/event/event_table.hpp>
#include <core/frame/memory_account.hpp>

namespace cero {

class GrantTable;
struct PirqTable;

/// alive -> dying (no new references to its resources) -> dead (resources gone, out of the table).
enum class DomainLife : std::uint8_t { alive, dying, dead };

/// Steps of the preemptible teardown, in order.
enum class TeardownStep : std::uint8_t { stop, events, grants, roots, memory, vcpus, done };

struct Domain {
    arch::ArchDomain arch{};
    DomainId id{};
    DomainSlot slot{};
    bool is_control{}; ///< dom0
    Atomic<DomainLife> life{DomainLife::alive};
    Atomic<std::uint32_t> refs{1}; ///< the table holds one
    Atomic<std::uint32_t> pause_count{};
    bool paused_by_controller{};
    Atomic<bool> shutting_down{}; ///< all vCPUs stop; the code tells why
    std::uint32_t shutdown_code{};
    TeardownStep teardown{TeardownStep::stop};
    std::uint64_t teardown_cursor{};
    Spinlock<LockRank::domain> lock;

    MemoryAccount memory;
    std::uint64_t l1_kept{}; ///< what its level-1 entries may have of what the guest asks for
    cero_shared_info* shared_info{};
    MachineFrame shared_info_frame{invalid_frame};
    std::uint32_t vcpu_limit{};
    Vcpu* vcpus[max_vcpus]{};

    EventTable events;
    Atomic<std::uint64_t> polling_vcpus{};           ///< vCPUs that sleep in SCHEDOP_poll
    std::uint16_t global_virq_port[CERO_NR_VIRQS]{}; ///< 0 = not bound
    GrantTable* grants{};
    PirqTable* pirqs{};
    Rights rights;

    /// CPUs whose TLB may hold translations of this domain.
    Atomic<std::uint64_t> dirty_cpus{};

    std::uint8_t handle[16]{};
    std::uint16_t weight{256};
    std::uint16_t cap{}; ///< per cent of one CPU; 0 = none
    std::uint32_t ssidref{};
    std::uint32_t create_flags{};
    std::uint64_t vm_assist{};
    static constexpr unsigned watchdog_count = 2;
    Timer watchdogs[watchdog_count];    ///< armed when in use; domain lock
    std::uint64_t logged_left_out[4]{}; ///< operations left out that were asked for and logged, by a hash
    std::uint32_t logged_refusals{};    ///< hypercalls that failed and were logged; they stop at a number
    char console_line[120]{};           ///< what an unprivileged domain has written of the current line
    std::uint32_t console_length{};
    std::uint32_t console_credit{};
    std::uint64_t console_second{};

    [[nodiscard]] bool is_dying() const noexcept { return life.load(Order::acquire) != DomainLife::alive; }
    /// The vCPU of an id that exists, else null.
    [[nodiscard]] Vcpu* vcpu(std::uint32_t number) const noexcept {
        return number < max_vcpus ? vcpus[number] : nullptr;
    }
    /// Calls `visit(Vcpu&)` for each vCPU that exists.
    template <typename Visit> void for_each_vcpu(Visit&& visit) {
        for (std::uint32_t n = 0; n < vcpu_limit; ++n)
            if (vcpus[n] != nullptr) visit(*vcpus[n]);
    }
    [[nodiscard]] CpuMask dirty_mask() const noexcept { return CpuMask{dirty_cpus.load(Order::seq_cst)}; }

    /// The guest is in a state that cannot be honoured: it stops with reason `crash`. Returns; a
    /// vCPU of the domain that is the caller stops on its way out.
    void crash(const char* format, ...) __attribute__((format(printf, 2, 3)));
    /// Stops all vCPUs and tells the control domain. For the control domain itself: the machine's
    /// power state changes.
    void shut_down(std::uint32_t reason);
};

/// A counted reference to a domain.
class DomainRef {
public:
    constexpr DomainRef() noexcept = default;
    /// Adopts a reference that the caller has taken.
    explicit DomainRef(Domain* domain) noexcept : domain_{domain} {}
    DomainRef(DomainRef&& other) noexcept : domain_{other.domain_} { other.domain_ = nullptr; }
    DomainRef& operator=(DomainRef&& other) noexcept {
        std::swap(domain_, other.domain_); // released with `other`
        return *this;
    }
    DomainRef(const DomainRef&) = delete;
    ~DomainRef() {
        if (domain_ != nullptr) release(*domain_);
    }
    explicit operator bool() const noexcept { return domain_ != nullptr; }
    Domain& operator*() const noexcept { return *domain_; }
    Domain* operator->() const noexcept { return domain_; }
    [[nodiscard]] Domain* get() const noexcept { return domain_; }

    static void acquire(Domain& domain) noexcept { domain.refs.fetch_add(1, Order::relaxed); }
    /// Drops a reference; the last one frees the domain's memory.
    static void release(Domain& domain) noexcept;

private:
    Domain* domain_{};
};

/// The domain with this id (CERO_DOMID_SELF is the current vCPU's), dying ones too; empty if none.
[[nodiscard]] DomainRef find_domain(DomainId id);
/// The domain with the lowest id that is at least `id`.
[[nodiscard]] DomainRef next_domain(DomainId id);
/// The domain in a slot, as a frame records it; null if none. The caller holds something that keeps
/// it alive (a frame of it, or a reference).
[[nodiscard]] Domain* domain_in_slot(DomainSlot slot) noexcept;
/// The first domain, or null before it is built.
[[nodiscard]] Domain* control_domain() noexcept;
/// Calls `visit(Domain&)` for each domain, ascending.
template <typename Visit> void for_each_domain(Visit&& visit) {
    std::uint16_t id = 0;
    while (true) {
        const DomainRef domain = next_domain(DomainId{id});
        if (!domain) return;
        visit(*domain);
        id = static_cast<std::uint16_t>(domain->id.raw() + 1);
    }
}

/// A new domain, paused once by its controller, without vCPUs. exist: the id is taken; nomem;
/// nospc: no slot is left. The caller owns nothing: the table holds it until destroy_domain().
struct DomainSettings {
    bool is_control{};
    std::uint32_t vcpus{1};
    std::uint32_t event_ports{CERO_EVTCHN_2L_PORTS};
};
Result<Domain*> create_domain(DomainId id, const DomainSettings& settings);
/// A free domain id above those given before.
[[nodiscard]] Result<DomainId> free_domain_id();
/// Makes vCPUs 0 .. vcpu_limit - 1 exist. nomem leaves those that were made.
Status create_vcpus(Domain& domain);
/// Goes on tearing the domain down; restart: stopped at a preemption point. Ends with the domain
/// out of the table; its memory goes with the last reference.
Status destroy_domain(Vcpu& current, Domain& domain);
/// Installs a context into a vCPU that does not run: registers, tables, descriptors. restart:
/// stopped at a preemption point, call again with the same context.
Status install_context(Vcpu& current, Vcpu& target, const cero_vcpu_guest_context& context);
/// Gives back what a vCPU holds of its domain's memory: tables, descriptors, vcpu_info page. restart: call again.
Status drop_context(Vcpu& current, Vcpu& target);

/// 2^order zeroed pages of hypervisor memory, for objects above a page.
Result<void*> allocate_object(std::size_t bytes);
void free_object(void* object, std::size_t bytes);

} // namespace cero
